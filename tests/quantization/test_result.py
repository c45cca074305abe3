"""Saving: nothing half-written, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_functions import LENIENT, convolution, images, two_convolutions

import eightfold as ef
from eightfold.errors import DataError, OutputError
from eightfold.quantization import result as module
from eightfold.quantization.result import written_beside

pytestmark = pytest.mark.int8


@pytest.fixture(scope="module")
def quantized() -> ef.Quantized:
    return ef.quantize(convolution(), images(20), recipe=LENIENT)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def half_written(model: Any, place: Path) -> None:
    place.mkdir()
    (place / "saved_model.pb").write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_saved_model_and_frozen_graph_compute_the_same(quantized: ef.Quantized, tmp_path: Path) -> None:
    x = images(3, side=9, seed=5)
    expected = quantized(x=x)["y"]
    folder = quantized.save(tmp_path / "deep" / "net")
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant(x))["y"]
    np.testing.assert_array_equal(found, expected)
    path = quantized.save(tmp_path / "net.pb", format="frozen")
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        np.testing.assert_array_equal(session.run("y:0", {"x:0": x}), expected)
    assert ef.read_report(path) == ef.read_report(path.with_suffix(".json"))


@pytest.mark.parametrize(
    ("format", "recipe"), [("saved_model", "net.pb/assets.extra/recipe.toml"), ("frozen", "net.toml")]
)
def test_the_saved_recipe_makes_the_same_model_bit_for_bit(tmp_path: Path, format: Any, recipe: str) -> None:
    function, data = two_convolutions(), images(20)
    model = ef.export(function)
    asked = ef.Recipe(observer="mse", overrides=(ef.Override(op="Conv2D", per_channel=False),))
    plan = ef.plan(model, asked).without("b", reason="a verification gave it back")
    assert [step.name for step in plan.steps] == ["a"]
    first = ef.lower(model, plan, ef.calibrate(model, plan, data)).save(tmp_path / "net.pb", format=format)
    settled = ef.Recipe.load(tmp_path / recipe)
    again = ef.plan(model, settled)
    assert [step.name for step in again.steps] == ["a"]  # nor has a smaller rewrite taken what was given back
    second = ef.lower(model, again, ef.calibrate(model, again, data)).save(tmp_path / "again.pb", format=format)
    assert graph_bytes(second) == graph_bytes(first)


def graph_bytes(saved: Path) -> bytes:
    return (saved / "saved_model.pb" if saved.is_dir() else saved).read_bytes()


def test_calling_with_other_names(quantized: ef.Quantized) -> None:
    with pytest.raises(DataError, match="the model has other inputs: expected x, received image"):
        quantized(image=images(1))


@pytest.mark.parametrize("format", ["saved_model", "frozen"])
def test_what_is_there_stays_without_overwrite(quantized: ef.Quantized, tmp_path: Path, format: Any) -> None:
    target = tmp_path / "net.pb"
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match="net.pb is there already; choose another place or allow overwriting"):
        quantized.save(target, format=format)
    assert contents(tmp_path) == {"net.pb": b"precious"}


def test_a_frozen_graph_spares_the_json_beside_it(quantized: ef.Quantized, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_bytes(b"precious")
    with pytest.raises(OutputError, match="net.json is there already"):
        quantized.save(tmp_path / "net.pb", format="frozen")
    assert contents(tmp_path) == {"net.json": b"precious"}


def test_overwriting_replaces_the_whole_folder(quantized: ef.Quantized, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "stale").write_bytes(b"old")
    quantized.save(folder, overwrite=True)
    assert set(contents(tmp_path)) == {
        "net/saved_model.pb",
        "net/assets.extra/eightfold.json",
        "net/assets.extra/recipe.toml",
    }


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("write", "error"), [(interrupted, KeyboardInterrupt), (half_written, OutputError)], ids=["interrupt", "full"]
)
def test_a_failure_while_writing_leaves_everything_as_it_was(
    quantized: ef.Quantized,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Any,
    error: type[BaseException],
    *,
    overwrite: bool,
) -> None:
    target = tmp_path / "net"
    if overwrite:
        quantized.save(target)
    before = contents(tmp_path)
    monkeypatch.setattr(module, "write_saved_model", write)
    with pytest.raises(error):
        quantized.save(target, overwrite=overwrite)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["net"] * overwrite


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_between_the_renames_brings_the_old_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], failing: int
) -> None:
    target = tmp_path / "net"
    target.write_bytes(b"old")
    rename, calls = Path.rename, iter(range(1, 9))

    def fragile(self: Path, to: Path) -> Path:
        if next(calls) == failing:
            raise error
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fragile)
    with pytest.raises((OutputError, KeyboardInterrupt)), written_beside(target, overwrite=True) as place:
        place.write_bytes(b"new")
    assert contents(tmp_path) == {"net": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="cannot write to .*file: "),
        written_beside(tmp_path / "file" / "net", overwrite=False),
    ):
        pass


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "kept").touch()
    with (
        pytest.raises(OutputError, match="results is a folder; expected the name of a file"),
        written_beside(tmp_path / "results", overwrite=True) as place,
    ):
        place.touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "kept"]
