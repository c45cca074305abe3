"""`eightfold predict` with TensorFlow and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eightfold.graph.ir import DType
from eightfold.graph.writer import Writer
from eightfold.running.file import Measured, Tuned, write
from eightfold.running.settings import Runtime


@pytest.fixture(scope="module")
def picture_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of 3 classes for a picture of 6 x 6: the mean of each colour."""
    from eightfold.tf.savedmodel import write_saved_model

    w = Writer()
    x = w.input("image", (None, 6, 6, 3))
    mean = w.node("Mean", x, w.const([1, 2]), attrs={"Tidx": DType("int32"), "keep_dims": False}, name="mean")
    folder = tmp_path_factory.mktemp("models") / "colours"
    write_saved_model(w.model(scores=mean), folder)
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 pictures in the folders green and red, of one colour each."""
    folder = tmp_path_factory.mktemp("colours")
    for label, (name, count) in enumerate((("green", 4), ("red", 3))):
        (folder / name).mkdir()
        for number in range(count):
            pixels = np.full((6, 6, 3), number, np.uint8)
            pixels[..., 1 - label] = 200
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_pictures_keep_their_names_and_labels(run: Any, picture_model: Path, colours: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "out.parquet"
    result = run("predict", picture_model, "-d", colours, "-o", output, "--top", 1, "-b", 2, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["output"], document["rows"], document["skipped"]) == (str(output), 7, [])
    rows = parquet.read_table(output).to_pylist()
    assert [row["file"] for row in rows] == [
        *("green/0.png", "red/0.png", "green/1.png", "red/1.png", "green/2.png", "red/2.png", "green/3.png"),
    ]
    for row in rows:
        red = row["file"].startswith("red")
        assert row == {"file": row["file"], "class": [0 if red else 1], "score": [200.0], "label": int(red)}


def test_a_picture_that_cannot_be_read(run: Any, picture_model: Path, colours: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with-a-bad-one"
    folder.mkdir()
    for file in colours.glob("*/*.png"):
        (folder / f"{file.parent.name}-{file.name}").write_bytes(file.read_bytes())
    (folder / "none.png").write_text("no picture")
    refused = run("predict", picture_model, "-d", folder, "-o", tmp_path / "out.npz")
    assert refused.exit_code == 2
    assert "Error: row 4 (none.png): the picture " in refused.stderr
    assert "--skip-errors leaves such rows empty" in refused.stderr
    result = run("predict", picture_model, "-d", folder, "-o", tmp_path / "out.npz", "--skip-errors")
    assert result.exit_code == 0, result.stderr
    assert "rows that could not be read and are empty: 1;" in result.stdout
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.isnan(arrays["scores"]).any(axis=1).tolist() == [False] * 4 + [True] + [False] * 3
        assert arrays["file"][4] == "none.png"
        assert "cannot be read" in arrays["error"][4]


def settings_file(folder: Path, settings: Runtime) -> Path:
    """What tuning found on another machine."""
    tuned = Tuned(
        settings=settings,
        measured=Measured(95.5, 10.5, 11.0, 12.5),
        machine={"cpu": "Another One", "cores": 999},
        versions={},
        when="2024-02-29T12:00:00",
        command="eightfold tune net",
    )
    file = folder / "settings.json"
    write(file, "throughput", tuned)
    return file


def test_what_is_to_be_known_of_a_file_of_settings(
    run: Any, picture_model: Path, colours: Path, tmp_path: Path
) -> None:
    settings = settings_file(tmp_path, Runtime(batch_size=2, cores=1, intra=1))
    result = run("predict", picture_model, "-d", colours, "-o", tmp_path / "out.npz", "--runtime", settings)
    assert result.exit_code == 0, result.stderr
    assert "note: the settings were found on Another One with 999 cores" in result.stdout
    assert "batch 2" in result.stdout


def test_a_variable_of_the_user_wins_over_tuned_settings(
    run: Any, picture_model: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_file(tmp_path, Runtime(batch_size=2, cores=1, intra=1, env={"EIGHTFOLD_TEST": "1"}))
    monkeypatch.setenv("EIGHTFOLD_TEST", "0")
    result = run("predict", picture_model, "-d", colours, "-o", tmp_path / "out.npz", "--runtime", settings)
    assert result.exit_code == 0, result.stderr
    assert "note: EIGHTFOLD_TEST=0 is in the environment already and stays" in result.stdout


def test_a_network_by_name_has_no_answers(run: Any, colours: Path, tmp_path: Path) -> None:
    result = run("predict", "mobilenet", "-d", colours, "-o", tmp_path / "out.npz")
    assert result.exit_code == 2
    assert "there is no model at mobilenet; MobileNet of keras.applications can be benchmarked" in result.stderr


def test_records_are_read_from_the_middle_on(run: Any, picture_model: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    values = np.random.default_rng(0).random((150, 6, 6, 3), dtype=np.float32)
    for part, rows in enumerate((range(90), range(90, 150))):
        with tf.io.TFRecordWriter(str(tmp_path / f"part-{part}.tfrecord")) as writer:
            for row in rows:
                floats = tf.train.Feature(float_list=tf.train.FloatList(value=values[row].ravel()))
                feature = {"image": floats, "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[row]))}
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    result = run("predict", picture_model, "-d", tmp_path / "part-*", "-o", tmp_path / "out.npz", "-b", 8)
    assert result.exit_code == 0, result.stderr
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["label"].tolist() == list(range(150))
        np.testing.assert_allclose(arrays["scores"], values.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--instances", "many"], "--instances is 'many'; expected a whole number from 1, or auto"),
        (["--instances", "999"], "instances of 1 cores need 999 cores; this process may use"),
        (["--mode", "fast"], "--mode is 'fast'; expected one of throughput, latency"),
        (["--mode", "latency"], "has no runtime.json"),
        (["-o", "out.csv"], "out.csv is of no known kind; expected a name that ends in .parquet or .npz"),
        (["--outputs", "colour"], "the model has no output 'colour'; it has: scores"),
        (["-d", "none.npz"], "there is no file or folder none.npz"),
    ],
)
def test_what_makes_no_sense(
    run: Any, picture_model: Path, colours: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run("predict", picture_model, "-d", colours, "-o", tmp_path / "out.npz", *arguments)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_says_how_to_go_on(
    run: Any, picture_model: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    parts = tmp_path / "out.npz.partial"

    def interrupted(*_: object, **__: object) -> None:
        if begun:
            parts.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("eightfold.prediction.predict.predict", interrupted)
    result = run("predict", picture_model, "-d", colours, "-o", tmp_path / "out.npz")
    assert result.exit_code == 130
    told = f"The parts so far are in {parts}: --resume goes on.\n" if begun else ""
    assert result.stderr == f"{told}Interrupted; what was there before is untouched.\n"
