"""What is sure of peers without a network: a stand-in takes the place of their environments and libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from eightfold.bench import Runtime, Settings, Subject, compare
from eightfold.bench.cache import cache
from eightfold.bench.peers import PEERS, Peer, best, conversion, float_model, inputs, parse, peers, usual
from eightfold.bench.peers.conversion import MADE, key
from eightfold.bench.peers.environment import ISOLATED, Environment
from eightfold.bench.peers.feeds import batches, samples
from eightfold.bench.peers.flight import IN_FLIGHT, Flight, flight
from eightfold.bench.peers.isolated import Eightfold
from eightfold.bench.protocol import Job, Refusal, lane_times, warm_up
from eightfold.bench.steps import log
from eightfold.errors import ModelError, OutputError, PlatformError, RecipeError

QUICK = Settings(rounds=2, seconds=0.0, least=2, warm_up=0.0)
DATA = {"x": np.arange(12, dtype=np.float32).reshape(4, 3)}


@dataclass(frozen=True)
class StandInEnvironment:
    """Runs the stand-in with this Python in place of eightfold's modules."""

    packages: tuple[str, ...] = ("stand-in==1.0",)
    alone: tuple[str, ...] = ()

    def command(self, module: str, place: Path | None = None, tell: Any = None) -> tuple[str, ...]:
        return (sys.executable, str(Path(__file__).with_name("stand_in_peer.py")), module)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "eightfold" / "peers"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Peer:
    peer = Peer("stand_in", "Stand-in", cast(Environment, StandInEnvironment()))
    monkeypatch.setattr(Peer, "sources", (Path(__file__).with_name("stand_in_peer.py"),))
    monkeypatch.setitem(PEERS, peer.name, peer)
    return peer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path / "net", "2")


def saved(folder: Path, told: str) -> Path:
    folder.mkdir()
    (folder / "saved_model.pb").write_text(told, encoding="utf-8")
    return folder


# environments


def wheel(folder: Path) -> Path:
    """A package with nothing but a module that says where it is."""
    path = folder / "eightfold_stand_in-1.0-py3-none-any.whl"
    about = "eightfold_stand_in-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("eightfold_stand_in.py", "print(__file__)\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: eightfold-stand-in\nVersion: 1.0\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip looks nowhere but at the files that it is given."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_an_environment_is_made_once_and_holds_its_packages(
    tmp_path: Path, own_cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # must not be taken for what is installed
    environment = Environment("stand-in", (str(wheel(tmp_path)),), pythons=(sys.version_info[:2],))
    told: list[tuple[str, int, int | None]] = []
    python = environment.python(tell=lambda *what: told.append(what))
    assert Path(python).parents[2] == own_cache
    (said,) = {what for what, _, _ in told}
    assert said.startswith(f"making the environment of stand-in in {own_cache}")
    assert told[0][1] == 0
    assert told[-1][1] > 0
    where = subprocess.run(
        [python, "-I", "-m", "eightfold_stand_in"], capture_output=True, text=True, check=True
    ).stdout
    assert where.startswith(str(Path(python).parents[1]))
    made = Path(python).parents[1].stat().st_mtime_ns
    assert environment.python(tell=lambda *what: told.append(("again", 0, None))) == python
    assert Path(python).parents[1].stat().st_mtime_ns == made
    assert "again" not in {what for what, _, _ in told}


def test_a_failed_installation_leaves_nothing_that_looks_whole(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    lost = Environment("lost", ("eightfold-no-such-package==1.0",))
    with pytest.raises(PlatformError) as error:
        lost.python()
    assert re.fullmatch(
        r"the environment of lost could not be installed: pip said: ERROR: No matching distribution found for "
        r"eightfold-no-such-package==1.0 \(packages come from the index .* within reach\)",
        str(error.value),
    )
    assert [path for path in own_cache.iterdir() if path.suffix != ".lock"] == []


def test_a_python_that_is_not_there() -> None:
    with pytest.raises(PlatformError, match=r"lost needs one of Python 2.1; this is 3.\d+, and none of them is on"):
        Environment("lost", ("a==1",), pythons=((2, 1),)).python()


def test_other_pins_are_another_environment() -> None:
    one = Environment("one", ("a==1", "b==2"))
    version = (3, 11)
    others = [
        replace(one, packages=("a==1", "b==3")),
        replace(one, packages=("a==1",), alone=("b==2",)),
    ]
    keys = [environment._key(version) for environment in (one, *others)]
    assert len({*keys, one._key((3, 12))}) == 4
    assert one._key(version) == replace(one)._key(version)


def test_every_pin_names_one_version() -> None:
    for peer in PEERS.values():
        for pin in peer.environment.packages:
            assert re.fullmatch(r"[\w-]+==[\d.]+(; python_version (<|>=) '3\.\d+')?", pin), pin


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache("peers") == tmp_path / "cache" / "eightfold" / "peers"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache("peers") == tmp_path / ".cache" / "eightfold" / "peers"


def test_a_cache_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    with pytest.raises(OutputError, match="cannot be written to: .*; set XDG_CACHE_HOME to a folder that can"):
        Environment("lost", ("a==1",)).python()


def test_isolated_finds_eightfold_and_nothing_beside_it() -> None:
    package = Eightfold.find_spec("eightfold.bench")
    module = Eightfold.find_spec("eightfold.bench.protocol")
    assert package is not None
    assert module is not None
    assert package.loader is None  # its __init__ is not run
    assert module.origin is not None
    assert module.origin.endswith("protocol.py")
    assert Eightfold.find_spec("eightfold.nothing") is None
    assert Eightfold.find_spec("numpy") is None


def test_a_module_runs_isolated_with_what_it_imports_itself(tmp_path: Path) -> None:
    asks = (
        "import sys, eightfold.bench.protocol as asked; "
        "assert 'eightfold.bench.suite' not in sys.modules; print(asked.Job('m'))"
    )
    arguments = ["isolated", "timeit", "-n1", "-r1", asks]
    code = f"import runpy, sys; sys.argv = {arguments}; runpy.run_path({str(ISOLATED)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("Job(model='m'")


# conversion


def test_peers_take_part_in_a_comparison(stand_in: Peer, model: Path, own_cache: Path) -> None:
    told: list[str] = []
    names = ["stand_in", "stand_in:fp32"]
    subjects = peers(names, model, DATA, signature="call", tell=lambda what, *_: told.append(what))
    assert [one.name for one in subjects] == ["Stand-in int8", "Stand-in fp32"]
    assert told == ["converting the model for Stand-in int8", "converting the model for Stand-in fp32"]
    quantized, floats = (json.loads((one.model / "asked.json").read_text()) for one in subjects)
    assert quantized == {"signature": "call", "samples": [[row] for row in DATA["x"].tolist()]}
    assert floats == {"signature": "call", "samples": []}
    made = json.loads((subjects[0].model / MADE).read_text())
    assert made["versions"] == {"stand-in": "1.0"}
    assert made["precision"] == "int8"
    assert made["seconds"] > 0
    ready = [replace(one, model=one.model / "model") for one in subjects]
    assert [one.timing.runs for one in compare(ready, QUICK).measurements] == [4, 4]


def test_a_conversion_is_kept_for_the_same_model_data_and_signature(stand_in: Peer, model: Path) -> None:
    told: list[str] = []

    def place(data: dict[str, Any] = DATA, signature: str = "call") -> Path:
        (subject,) = peers(["stand_in"], model, data, signature=signature, tell=lambda what, *_: told.append(what))
        return subject.model

    first = place()
    assert place() == first
    assert len(told) == 1
    assert place({"x": DATA["x"] + 1}) != first
    assert place(signature="other") != first
    (model / "saved_model.pb").write_text("3", encoding="utf-8")
    assert place() != first
    assert len(told) == 4


def test_what_does_not_change_a_model_keeps_its_key(model: Path, stand_in: Peer) -> None:
    before = key(stand_in, model, DATA, "call")
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "runtime.json").write_text("{}", encoding="utf-8")
    (model / "fingerprint.pb").write_bytes(b"1")
    assert key(stand_in, model, DATA, "call") == before
    (model / "variables").mkdir()
    (model / "variables" / "variables.data").write_bytes(b"1")
    assert key(stand_in, model, DATA, "call") != before
    newer = replace(stand_in, environment=cast(Environment, StandInEnvironment(("stand-in==1.1",))))
    assert key(newer, model, DATA, "call") != key(stand_in, model, DATA, "call")


def test_a_model_is_made_anew_for_another_kind_of_cpu(
    model: Path, stand_in: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for flags in ({"avx2"}, {"avx2", "avx_vnni"}, {"avx512_vnni"}):
        monkeypatch.setattr(conversion, "cpu_flags", lambda flags=flags: frozenset(flags))
        keys.append(key(stand_in, model, DATA, "call"))
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize(
    ("told", "reason"), [("refuse", "it has a loop"), ("crash", "ValueError: a bug of the converter")]
)
def test_a_failed_conversion_is_a_sentence_and_leaves_nothing(
    stand_in: Peer, tmp_path: Path, own_cache: Path, told: str, reason: str
) -> None:
    bad = saved(tmp_path / told, told)
    with pytest.raises(ModelError) as error:
        peers(["stand_in"], bad, DATA)
    assert str(error.value) == f"Stand-in int8 cannot be made of {bad}: {reason}"
    assert [path for path in (own_cache / "models").iterdir() if path.suffix != ".lock"] == []


def test_names_of_peers() -> None:
    assert [str(parse(text)) for text in ("openvino", " onnxruntime:fp32", "litert:int8")] == [
        "OpenVINO int8",
        "ONNX Runtime fp32",
        "LiteRT int8",
    ]
    for wrong in ("tvm", "openvino:fp16", ""):
        with pytest.raises(RecipeError, match="is unknown; expected one of openvino, onnxruntime, litert, or one of"):
            parse(wrong)


def test_peers_begin_with_the_float_model(tmp_path: Path, model: Path) -> None:
    int8 = saved(tmp_path / "int8", "_FusedQuantizedConv2D")
    assert float_model([int8, model]) == model
    with pytest.raises(ModelError, match="need the float model: .*int8 is in 8 bits"):
        float_model([int8])
    frozen = tmp_path / "net.pb"
    frozen.write_bytes(b"")
    with pytest.raises(ModelError, match="need the float model as a SavedModel folder; given was .*net.pb"):
        float_model([frozen])


# feeds


def stored(folder: Path, **arrays: Any) -> str:
    path = folder / "feeds.npz"
    np.savez(path, **arrays)
    return str(path)


def test_batches_follow_each_other_and_begin_again(tmp_path: Path) -> None:
    job = Job("m", batch_size=3, feeds=stored(tmp_path, x=np.arange(5.0)[:, None]))
    found = batches(job, {"x": ([None, 1], "float32")})
    assert [next(found)["x"].ravel().tolist() for _ in range(3)] == [[0, 1, 2], [3, 4, 0], [0, 1, 2]]


def test_a_single_array_fits_a_single_input_by_any_name(tmp_path: Path) -> None:
    (feed,) = samples(stored(tmp_path, images=np.ones((1, 2))), {"x": ([None, 2], "float32")})
    assert feed["x"].dtype == np.float32


def test_a_fixed_batch_is_kept_to(tmp_path: Path) -> None:
    feeds = samples(stored(tmp_path, x=np.arange(3.0)[:, None]), {"x": ([2, 1], "float32")})
    assert [feed["x"].ravel().tolist() for feed in feeds] == [[0, 1], [2, 0]]


def test_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="the data lacks the input 'y'; it has x, z"):
        samples(stored(tmp_path, x=np.ones((1, 2)), z=np.ones(1)), {"x": ([None, 2], "int32"), "y": ([None], "int32")})
    with pytest.raises(Refusal, match=r"input 'x' takes float32 of shape \[None, 3\]; the data is float64 of \(1, 2\)"):
        samples(stored(tmp_path, x=np.ones((1, 2))), {"x": ([None, 3], "float32")})


def test_synthetic_batches_are_all_the_same() -> None:
    found = batches(Job("m", batch_size=2), {"x": ([None, 3], "float32")})
    assert next(found)["x"] is next(found)["x"]


# several at a time


def meeting(count: int) -> Callable[[], None]:
    """Runs that end only when so many of them are under way."""
    barrier = threading.Barrier(count, timeout=30)
    return lambda: (barrier.wait(), time.sleep(0.002))[1]


def test_runs_of_a_flight_overlap_and_each_has_its_own_wait() -> None:
    run = meeting(3)
    several = Flight([run] * 3)
    lanes = lane_times(several, 0.0, 7)
    assert [len(lane) for lane in lanes] == [3, 3, 3]  # each as many, at least seven in all
    assert min(map(min, lanes)) >= 0.002
    assert warm_up(several, limit=0.0)[0] == 1


def test_a_flight_raises_what_a_run_raises() -> None:
    def refuse() -> None:
        raise Refusal("no")

    with pytest.raises(Refusal, match="no"):
        Flight([refuse, refuse]).times(0.0, 1)


def test_the_environment_says_how_many_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        pass

    monkeypatch.delenv(IN_FLIGHT, raising=False)
    assert flight(lambda: run) is run
    monkeypatch.setenv(IN_FLIGHT, "3")
    made: list[int] = []
    assert isinstance(flight(lambda: made.append(1) or run), Flight)
    assert len(made) == 3


def test_waits_are_true_and_images_add_up(
    stand_in: Peer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches in flight, each of which sleeps for 20 ms: three times the images of one, and no shorter wait."""
    flying = tmp_path / "flying.py"
    flying.write_text(FLYING, encoding="utf-8")
    command, how = (sys.executable, str(flying)), Settings("throughput", rounds=2, seconds=0.0, least=12, warm_up=0.0)
    one, three = (Subject(str(n), model, command, runtime=Runtime(4, env={IN_FLIGHT: str(n)})) for n in (1, 3))
    alone, together = compare([one, three], how).measurements
    assert [len(turn.times) for turn in together.turns] == [3, 3]
    assert alone.timing.min_ms >= 20
    assert together.timing.min_ms >= 20
    assert together.speedup.median == pytest.approx(3, rel=0.3)
    assert {turn.figures for turn in together.turns} == {()}
    assert "Batch size:  12 global" in log(together)


FLYING = """
import time
from eightfold.bench.peers.flight import flight
from eightfold.bench.protocol import serve
serve(lambda job: (flight(lambda: lambda: time.sleep(0.02)), {}))
"""


# candidates


@pytest.mark.parametrize("peer", PEERS.values(), ids=str)
@pytest.mark.parametrize("cores", [1, 2, 6, 8])
def test_candidates_use_all_cores_in_different_ways(peer: Peer, cores: int) -> None:
    latency = best(peer, "latency", cores)
    assert {one.batch_size for one in latency} == {1}
    assert {one.instances for one in latency} == {1}
    assert latency[0].intra == cores
    throughput = best(peer, "throughput", cores)
    assert {one.batch_size for one in throughput} == {1, 2, 4, 8, 16, 32, 64}
    for one in throughput:
        busy = one.instances * (one.intra or 0) * int(one.env.get(IN_FLIGHT, "1"))
        assert cores // 2 < busy <= cores
        assert one.cores in (None, one.intra)
    for mode in ("latency", "throughput"):
        assert usual(peer, mode, cores, 8) == replace(best(peer, mode, cores)[0], batch_size=8)
    for found in (latency, throughput):
        assert len({json.dumps(one.to_json()) for one in found}) == len(found)


# with TensorFlow


@pytest.fixture(scope="module")
def tensorflow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tensorflow as tf

    def call(image: Any, age: Any) -> dict[str, Any]:
        values = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME"))
        return {"score": tf.reduce_mean(values, [1, 2, 3]) + age}

    module = tf.Module()
    kernel = module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype(np.float32))
    specs = [tf.TensorSpec([None, 8, 8, 1], tf.float32, "image"), tf.TensorSpec([None], tf.float32, "age")]
    module.call = tf.function(call, input_signature=specs)
    folder = tmp_path_factory.mktemp("tensorflow") / "net"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    return folder


def test_examples_are_made_up_for_every_input(tensorflow_model: Path) -> None:
    found = inputs.made_up(tensorflow_model, "serving_default")
    assert {name: (array.shape, array.dtype.name) for name, array in found.items()} == {
        "image": ((16, 8, 8, 1), "float32"),
        "age": ((16,), "float32"),
    }


def test_a_signature_that_is_not_there(tensorflow_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inputs", str(tensorflow_model), "other", "out.npz"])
    with pytest.raises(SystemExit, match="has no signature 'other'; it has: serving_default"):
        inputs.main()


def test_the_converter_that_needs_no_environment(tensorflow_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "worker", lambda self, tell: ("worker",))
    data = {"image": np.random.default_rng(0).random((4, 8, 8, 1), np.float32), "age": np.ones(4, np.float32)}
    (subject,) = peers(["litert"], tensorflow_model, data)
    content = (subject.model / "model.tflite").read_bytes()
    assert content[4:8] == b"TFL3"
    assert b"score" in content
    assert (subject.name, subject.command) == ("LiteRT int8", ("worker",))
