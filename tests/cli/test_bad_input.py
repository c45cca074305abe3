"""Every bad input: exit code 2, one line on standard error, nothing on standard output, nothing on disk."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.int8

Refused = Callable[..., str]


@pytest.fixture
def refused(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Runs the program in an empty folder and gives the one line that it said."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def check(*arguments: object) -> str:
        before = sorted(work.rglob("*"))
        result = run(*arguments)
        assert result.exit_code == 2, result.stderr
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert [p for p in sorted(work.rglob("*")) if "__pycache__" not in p.parts] == before
        return str(result.stderr)

    return check


# --- the model ------------------------------------------------------------


def test_a_missing_model(refused: Refused, data: Path) -> None:
    assert "there is no model at nowhere" in refused("quantize", "nowhere", "-d", data, "-o", "out")


@pytest.mark.parametrize("name", ["net.keras", "net.pb", "net.h5"])
def test_a_corrupt_file(refused: Refused, data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe no model")
    assert str(tmp_path / name) in refused("quantize", tmp_path / name, "-d", data, "-o", "out")


@pytest.mark.parametrize("cut", [slice(0, 1000), slice(7, None)])
def test_a_corrupt_saved_model(refused: Refused, data: Path, tmp_path: Path, float_model: Path, cut: slice) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes((float_model / "saved_model.pb").read_bytes()[cut])
    assert "is damaged" in refused("quantize", broken, "-d", data, "-o", "out")


def test_a_model_with_ops_of_a_newer_tensorflow(refused: Refused, data: Path, tmp_path: Path) -> None:
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="OpOfTomorrow").input.append("x")
    (tmp_path / "new.pb").write_bytes(graph.SerializeToString())
    assert "OpOfTomorrow" in refused("quantize", tmp_path / "new.pb", "-d", data, "-o", "out")


# --- the data ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((8, 6, 12, 8), np.float32)}, "expected 'image' float32[?, 12, 12, 8], received"),
        ({"image": np.array(["a"] * 8)}, "expected 'image' float32[?, 12, 12, 8], received"),
        ({"a": np.zeros((8, 12, 12, 8)), "b": np.zeros(8)}, "missing: image"),
        ({"image": np.full((8, 12, 12, 8), np.nan, np.float32)}, "holds NaN"),
        ({"image": np.full((8, 12, 12, 8), np.inf, np.float32)}, "holds Inf"),
        ({"image": np.zeros((0, 12, 12, 8), np.float32)}, "the data set is empty"),
    ],
)
def test_data_that_does_not_fit(
    refused: Refused, float_model: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    assert message in refused("quantize", float_model, "-d", tmp_path / "bad.npz", "-o", "out")


def test_missing_data(refused: Refused, float_model: Path) -> None:
    assert "there is no file or folder no.npz" in refused("quantize", float_model, "-d", "no.npz", "-o", "out")


def test_no_data_and_not_dynamic(refused: Refused, float_model: Path) -> None:
    assert "give it with --data, or choose --dynamic" in refused("quantize", float_model, "-o", "out")


def test_a_function_of_the_user_that_fails(refused: Refused, float_model: Path) -> None:
    Path("late.py").write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    yield np.zeros((4, 12, 12, 8), np.float32)\n"
        "    raise OSError('the camera is gone')\n"
    )
    said = refused("quantize", float_model, "-d", "late:batches", "-o", "out")
    assert "late:batches failed: OSError: the camera is gone" in said


def test_a_tf_data_function_of_the_user_that_fails(refused: Refused, float_model: Path) -> None:
    Path("tf_late.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "def rows():\n"
        "    raise OSError('the disk is gone')\n"
        "    yield\n"
        "def data():\n"
        "    spec = tf.TensorSpec((None, 12, 12, 8))\n"
        "    return tf.data.Dataset.from_generator(rows, output_signature=spec)\n"
    )
    said = refused("quantize", float_model, "-d", "tf_late:data", "-o", "out")
    assert "tf_late:data failed: UnknownError: OSError: the disk is gone" in said


# --- weights, recipe, output, platform ------------------------------------------------------------


def test_a_recipe_with_an_unknown_key(refused: Refused, float_model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('obsrver = "kl"\n')
    said = refused("quantize", float_model, "-d", data, "-o", "out", "--recipe", tmp_path / "r.toml")
    assert "unknown recipe key 'obsrver'" in said
    assert "did you mean 'observer'?" in said


@pytest.mark.parametrize("options", [("--recipe", "no.toml"), ("--exclude", "(")])
def test_a_recipe_that_makes_no_sense(
    refused: Refused, float_model: Path, data: Path, options: tuple[str, str]
) -> None:
    assert options[1] in refused("quantize", float_model, "-d", data, "-o", "out", *options)


@pytest.mark.parametrize("is_file", [False, True])
def test_what_is_there_is_not_replaced(refused: Refused, float_model: Path, data: Path, is_file: bool) -> None:
    kept = Path("kept") if is_file else Path("kept/notes.txt")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    assert "--overwrite" in refused("quantize", float_model, "-d", data, "-o", "kept")
    assert kept.read_text() == "mine"


def test_an_output_under_a_file(refused: Refused, float_model: Path, data: Path) -> None:
    Path("file").write_text("")
    assert "is not a folder" in refused("quantize", float_model, "-d", data, "-o", "file/out")


def test_one_dnn_switched_off(refused: Refused, float_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    said = refused("quantize", float_model, "-d", data, "-o", "out")
    assert "oneDNN is switched off by TF_ENABLE_ONEDNN_OPTS=0" in said


def test_a_cpu_without_kernels(
    refused: Refused, float_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "this is aarch64" in refused("quantize", float_model, "-d", data, "-o", "out")


# --- the other commands ------------------------------------------------------------


def test_evaluating_without_labels(refused: Refused, float_model: Path, data: Path) -> None:
    assert "the data has no labels" in refused("evaluate", float_model, "-d", data)


def test_agreement_with_nothing(refused: Refused, float_model: Path, data: Path) -> None:
    assert "--reference" in refused("evaluate", float_model, "-d", data, "-m", "agreement")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--signature", "has no signature 'other'; expected one of serving_default"),
        ("--output", "no output 'other'"),
    ],
)
def test_evaluating_what_is_not_there(
    refused: Refused, float_model: Path, data: Path, option: str, message: str
) -> None:
    arguments = ("-d", data, "-m", "agreement", "--reference", float_model, option, "other")
    assert message in refused("evaluate", float_model, *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "expected a SavedModel folder, a frozen .pb file, or a network of keras.applications such as"),
        ("net.keras", "net.keras is damaged"),
        ("folder", "holds no saved_model.pb"),
    ],
)
def test_a_benchmark_of_something_else(refused: Refused, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "net.keras").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert message in refused("benchmark", tmp_path / name)


def test_explaining_a_missing_model(refused: Refused) -> None:
    assert "there is no model at nowhere" in refused("explain", "nowhere")


@pytest.mark.parametrize(
    "words",
    [
        ("benchmark", "net", "--output"),
        ("tune", "net", "--output"),
        ("tune", "net", "--html"),
        ("explain", "net", "--html"),
        ("predict", "net", "data.npz", "--overwrite", "--output"),
    ],
)
def test_a_folder_where_a_file_is_to_be_written(run: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = tmp_path / "results.npz"
    folder.mkdir()
    (folder / "kept").touch()
    result = run(*words, folder)
    assert result.exit_code == 2
    assert "is a directory" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["kept"]
