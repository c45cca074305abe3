from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from tuned_models import folder, machine

from eightfold.errors import ModelError, PlatformError
from eightfold.running.chosen import choose
from eightfold.running.environment import environment, without_allocators
from eightfold.running.launch import Copy, launch, with_given
from eightfold.running.settings import Runtime
from eightfold.system.allocators import installed
from eightfold.system.topology import topology

VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "LD_PRELOAD", "PYTHONUNBUFFERED", "A")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_environment_of_settings() -> None:
    assert environment(Runtime()) == {}
    assert environment(Runtime(intra=2, inter=1, env={"A": "b"})) == {
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_NUM_INTEROP_THREADS": "1",
        "A": "b",
    }


@pytest.mark.skipif("tcmalloc" not in installed(), reason="tcmalloc is not installed")
def test_an_allocator_comes_before_what_is_preloaded_already(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(installed()["tcmalloc"])
    assert environment(Runtime(allocator="tcmalloc")) == {"LD_PRELOAD": path}
    monkeypatch.setenv("LD_PRELOAD", f"/lib/other.so {path}")
    assert environment(Runtime(allocator="tcmalloc")) == {"LD_PRELOAD": f"{path}:/lib/other.so"}


def test_other_libraries_stay_where_the_allocator_is_taken_away() -> None:
    both = {"LD_PRELOAD": "/lib/libtcmalloc.so.4:/lib/libother.so /lib/libjemalloc.so"}
    assert without_allocators(both) == {"LD_PRELOAD": "/lib/libother.so"}
    assert without_allocators({"LD_PRELOAD": "/lib/libjemalloc.so"}) == without_allocators({}) == {"LD_PRELOAD": None}


@pytest.mark.parametrize("started", ["latency", "throughput", ""])
def test_the_mode_of_another_model_counts_where_this_one_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: str
) -> None:
    net = folder(tmp_path / "net", latency=Runtime(intra=1))
    monkeypatch.setenv("EIGHTFOLD_MODE", started)
    assert choose(net).mode == "latency"
    folder(net, throughput=Runtime(intra=1))
    assert choose(net).mode == (started or "latency")
    monkeypatch.setenv("EIGHTFOLD_MODE", "fast")
    with pytest.raises(ModelError, match="EIGHTFOLD_MODE is 'fast', expected latency or throughput"):
        choose(net)


def test_an_allocator_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from eightfold.running import environment as module

    monkeypatch.setattr(module, "installed", dict)
    module.library.cache_clear()
    with pytest.raises(PlatformError, match=r"jemalloc, which is not installed here.*apt install libjemalloc2"):
        environment(Runtime(allocator="jemalloc"))
    module.library.cache_clear()


def test_each_copy_has_its_cores_and_its_number() -> None:
    started = launch(["app"], Runtime(instances=2, cores=2, intra=2), "throughput", machine(4))
    assert [copy.cpus for copy in started.copies] == [(0, 1), (2, 3)]
    for number, copy in enumerate(started.copies):
        assert copy.env == {
            "TF_NUM_INTRAOP_THREADS": "2",
            "PYTHONUNBUFFERED": "1",
            "EIGHTFOLD_MODE": "throughput",
            "EIGHTFOLD_INSTANCE": str(number),
            "EIGHTFOLD_INSTANCES": "2",
        }


def test_what_the_user_has_set_wins_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    monkeypatch.setenv("A", "b")  # the same as the settings': nothing to say
    started = launch(["app"], Runtime(intra=2, env={"A": "b"}), "latency", machine(4))
    (copy,) = started.copies
    assert "TF_NUM_INTRAOP_THREADS" not in copy.env
    assert started.notes == ("TF_NUM_INTRAOP_THREADS=7 is in the environment already and stays; the settings have 2",)


def test_settings_heed_a_variable_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Runtime(intra=2, env={"A": "1", "B": "2"})
    monkeypatch.setenv("A", "0")
    assert with_given(settings) == (
        Runtime(intra=2, env={"A": "0", "B": "2"}),
        ["A=0 is in the environment already and stays; the settings have 1"],
    )


def test_what_no_variable_can_say_is_named() -> None:
    notes = launch(["app"], Runtime(batch_size=8, layout="NHWC", precision="bf16"), "latency", machine(4)).notes
    assert any("NHWC and bfloat16" in note and "eightfold.load" in note for note in notes)
    assert any("batches of 8" in note for note in notes)


@pytest.mark.parametrize(
    ("instances", "cpus", "intra"),
    [
        (1, [(0, 1)], "2"),
        (2, [(0, 1), (2, 3)], "2"),
        (3, [(0,), (1,), (2,)], "1"),
        (4, [(0,), (1,), (2,), (3,)], "1"),
    ],
)
def test_another_number_of_copies(instances: int, cpus: list[tuple[int, ...]], intra: str) -> None:
    started = launch(["app"], Runtime(cores=2, intra=2), "latency", machine(4), instances=instances)
    assert [copy.cpus for copy in started.copies] == cpus
    assert started.copies[0].env["TF_NUM_INTRAOP_THREADS"] == intra


def test_more_copies_than_cores() -> None:
    with pytest.raises(PlatformError, match="5 instances need a core each; this process may use 4"):
        launch(["app"], Runtime(), "latency", machine(4), instances=5)


def test_the_command_of_a_copy_does_the_same_in_a_shell() -> None:
    cpu = topology().cpus[0]
    copy = Copy((cpu,), {"A": "b c"})
    script = 'echo "$A"; taskset -c -p $$'
    said = subprocess.run(copy.command(["sh", "-c", script]), shell=True, capture_output=True, text=True, check=True)
    value, affinity = said.stdout.splitlines()
    assert value == "b c"
    assert affinity.endswith(f": {cpu}")
    assert shlex.split(copy.command(["a b"]))[-1] == "a b"
