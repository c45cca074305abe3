from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tuned_models import here, saved_model, tuned_here

from eightfold.errors import DataError, ModelError, PlatformError
from eightfold.graph.ir import DType, Ref, Shape
from eightfold.graph.model import TensorSpec
from eightfold.running.file import write
from eightfold.running.loaded import Loaded, load
from eightfold.running.notices import SettingsWarning
from eightfold.running.scope import runtime
from eightfold.running.settings import Runtime
from eightfold.running.variables import Stage, stage
from eightfold.system.onednn import asked_for

X = np.array([[1, 2, 3, 4], [0, 0, 0, -5]], np.float32)
SCORES = [[11.0] * 3, [0.0] * 3]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("plain") / "net")


@pytest.fixture
def net(plain: Path, tmp_path: Path) -> Path:
    """The model, tuned; TensorFlow has made its threads in this process."""
    folder = tmp_path / "net"
    folder.mkdir()
    for part in ("saved_model.pb", "variables"):
        (folder / part).symlink_to(plain / part)
    write(folder, "latency", tuned_here(Runtime(intra=len(os.sched_getaffinity(0)), inter=1)))
    return folder


def test_an_untuned_model_runs_with_tensorflows_settings_and_says_so(plain: Path) -> None:
    with load(plain) as model:
        assert model.settings == Runtime()
        assert model.mode is None
        (note,) = model.notes
        assert "was never tuned" in note
        assert f"eightfold tune {plain}" in note
        outputs = model(x=X)
    assert outputs["scores"].tolist() == SCORES
    assert outputs["twice"].tolist() == (2 * X).tolist()


def test_a_mode_that_was_never_tuned_is_asked_for(plain: Path, net: Path) -> None:
    with pytest.raises(ModelError, match=r"has no runtime.json.*eightfold tune"):
        load(plain, "latency")
    with pytest.raises(ModelError, match="no settings for throughput"):
        load(net, "throughput")


def test_inputs_and_outputs_have_names_shapes_and_types(net: Path) -> None:
    assert stage() is Stage.STARTED
    with load(net, signature="other") as model:
        assert model.mode == "latency"
        assert model.settings.inter == 1
        assert str(model.inputs["x"]) == "float32[?, 4]"
        assert set(model.outputs) == {"scores", "twice"}
        assert model(x=X.astype(np.float64))["scores"].tolist() == SCORES  # as float32
        assert model(x=X.astype(int).tolist())["scores"].tolist() == SCORES


def test_a_model_that_was_closed_says_so(net: Path) -> None:
    with load(net) as model:
        model(x=X)
    with pytest.raises(ModelError, match="was closed; expected a call before that"):
        model(x=X)


def test_input_that_does_not_fit(net: Path) -> None:
    with load(net) as model:
        with pytest.raises(DataError, match=r"missing: x; unknown: y \(the model has: x\)"):
            model(y=X)
        with pytest.raises(DataError, match=r"'x' float32\[\?, 4\] cannot take float32\[2, 3\]"):
            model(x=X[:, :3])
        with pytest.raises(DataError, match="takes float32, and complex64 cannot become that"):
            model(x=X.astype(np.complex64))


def test_an_unknown_signature(net: Path) -> None:
    with pytest.raises(ModelError, match="no signature 'predict'; it has: other, serving_default"):
        load(net, signature="predict")


def test_the_best_model_may_be_another(net: Path, tmp_path: Path) -> None:
    other = saved_model(tmp_path / "wide", features=5)
    write(net, "latency", tuned_here(Runtime(), model="../wide"))
    with load(net) as model:
        assert model.path == other
        assert model(x=np.zeros((1, 5)))["scores"].tolist() == [[1.0] * 3]


def test_what_comes_too_late_is_named(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ONEDNN_SOMETHING", raising=False)  # `load` sets it, and leaves it
    machine = {**here(), "cores": 999}
    late = Runtime(env={"TF_ONEDNN_SOMETHING": "1"}, cores=1)
    write(net, "latency", tuned_here(late, machine))
    with pytest.warns(SettingsWarning) as warned:
        model = load(net)
    model.close()
    assert model.settings.env == asked_for()
    assert [Path(one.filename).name for one in warned] == [Path(__file__).name] * 2
    elsewhere, too_late = (str(one.message) for one in warned)
    assert "were found on" in elsewhere
    assert "with 999 cores" in elsewhere
    assert "too late in this process for TF_ONEDNN_SOMETHING=1" in too_late
    assert f"eightfold run {net} -- " in too_late
    assert model.notes == (elsewhere, too_late)


def test_threads_that_the_user_has_set_win(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
    with pytest.warns(SettingsWarning, match="TF_NUM_INTEROP_THREADS=3 is in the environment already and stays"):
        model = load(net)
    model.close()
    assert model.settings.inter == 3


def test_the_block_says_what_cannot_act_or_raises(net: Path) -> None:
    before = dict(os.environ), os.sched_getaffinity(0)
    write(net, "latency", tuned_here(Runtime(env={"TF_ONEDNN_SOMETHING": "1"}, layout="NHWC", cores=1)))
    with ExitStack() as block:
        with pytest.warns(SettingsWarning) as warned:
            settings = block.enter_context(runtime(net))
        assert settings.layout == "NHWC"
        assert len(os.sched_getaffinity(0)) == 1
        assert os.environ["EIGHTFOLD_MODE"] == "latency"
    words = " ".join(str(one.message) for one in warned)
    assert "TF_ONEDNN_SOMETHING=1" in words
    assert "the layout NHWC acts in a session only: open the model with eightfold.load" in words
    assert (dict(os.environ), os.sched_getaffinity(0)) == before
    with pytest.raises(PlatformError, match="too late"), runtime(net, strict=True):
        pass
    assert (dict(os.environ), os.sched_getaffinity(0)) == before


def test_bfloat16_inside_the_block(net: Path) -> None:
    import tensorflow as tf

    from eightfold.system.instructions import has_bfloat16

    if not has_bfloat16():
        pytest.skip("the CPU has no bfloat16")
    rng = np.random.default_rng(0)
    x, w = (tf.constant(rng.random((1, 8, 8, 16), np.float32)), tf.constant(rng.random((3, 3, 16, 16), np.float32)))

    def convolved() -> Any:
        return tf.function(lambda x: tf.nn.conv2d(x, w, 1, "SAME"))(x).numpy()

    write(net, "latency", tuned_here(Runtime(precision="bf16")))
    exact = convolved()
    with runtime(net):
        rough = convolved()
    assert 1e-4 < np.abs(rough / exact - 1).max() < 2e-2  # 8 bits of mantissa
    np.testing.assert_array_equal(convolved(), exact)


FRESH = """
import json, os, pathlib, sys
import numpy as np
import warnings
def threads():
    own = pathlib.Path("/proc/self/comm").read_text()
    return sum(file.read_text() == own for file in pathlib.Path("/proc/self/task").glob("*/comm"))
from eightfold.running.loaded import load
from eightfold.running.scope import runtime
net = sys.argv[1]
"""
LOADED_FIRST = """
with warnings.catch_warnings():
    warnings.simplefilter("error")
    import tensorflow  # imported before, as programs do: it is not too late yet
    before = threads()
    first, second = load(net, "latency"), load(net, "throughput")
made = threads() - before
scores = first(x=np.ones((1, 4)))["scores"].tolist()
said = [first.settings.to_json(), second.settings.to_json(), os.environ["TF_ONEDNN_SOMETHING"]]
print(json.dumps([made, scores, said, list(first.notes), list(second.notes)]))
"""
BLOCK_FIRST = """
with runtime(net) as settings:
    inside = sorted(os.sched_getaffinity(0)), os.environ["TF_ONEDNN_SOMETHING"]
    import tensorflow as tf
    before = threads()
    tf.ones((8, 8)) @ tf.ones((8, 8))
    made = threads() - before
    model = load(net)
    again = list(model.notes)
after = sorted(set.union(*(os.sched_getaffinity(int(one)) for one in os.listdir("/proc/self/task"))))
print(json.dumps([inside, made, again, after, "TF_ONEDNN_SOMETHING" in os.environ, "EIGHTFOLD_MODE" in os.environ]))
"""


def fresh(script: str, net: Path) -> Any:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_NUM", "TF_O", "EIGHTFOLD"))}
    clean |= asked_for()  # one script imports TensorFlow before it uses eightfold
    done = subprocess.run(
        [sys.executable, "-c", FRESH + script, os.fspath(net)], capture_output=True, text=True, check=False, env=clean
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one thread is all that settings can have here")
def test_a_model_loaded_first_has_all_its_settings_and_so_has_the_next(net: Path) -> None:
    write(net, "latency", tuned_here(Runtime(intra=2, inter=1, env={"TF_ONEDNN_SOMETHING": "1"})))
    write(net, "throughput", tuned_here(Runtime(intra=1, inter=1)))
    made, scores, said, *notes = fresh(LOADED_FIRST, net)
    assert scores == [[5.0] * 3]
    own = tuned_here(Runtime(intra=2, inter=1, env={"TF_ONEDNN_SOMETHING": "1"})), tuned_here(Runtime(intra=1, inter=1))
    assert said == [*(one.settings.to_json() for one in own), "1"]
    assert notes == [[], []]
    assert made >= 2 + 1  # each session has its own


def test_a_block_around_the_first_use_of_tensorflow(net: Path) -> None:
    write(net, "latency", tuned_here(Runtime(cores=1, intra=1, inter=1, env={"TF_ONEDNN_SOMETHING": "1"})))
    inside, made, again, after, variable, mode = fresh(BLOCK_FIRST, net)
    first = min(os.sched_getaffinity(0))
    assert inside == [[first], "1"]
    assert made == 1
    assert again == []
    assert after == sorted(os.sched_getaffinity(0))
    assert (variable, mode) == (False, False)


def test_an_input_may_have_any_name() -> None:
    class Twice:
        signature = SimpleNamespace(
            inputs={"self": TensorSpec(Ref("x"), DType("float32"), Shape((None,)))}, outputs=["y"]
        )

        def __call__(self, x: Any) -> list[Any]:
            return [2 * x]

    model = Loaded(Path("net"), Twice(), None, Runtime(), ())  # type: ignore[arg-type]
    assert model(self=np.ones(2, np.float32))["y"].tolist() == [2, 2]
