from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.graph.ir import DType


@pytest.fixture
def labelled(float_model: Path, images: np.ndarray, tmp_path: Path) -> Path:
    """Labels that are what the float model says, but for the first ten."""
    from eightfold.tf.read import read_model
    from eightfold.tf.session import Runner

    model = read_model(float_model)
    with Runner.of(model) as run:
        scores = run([model.default.outputs["scores"].ref], {model.default.inputs["image"].ref: images})[0]
    labels = scores.argmax(-1)
    labels[:10] = (labels[:10] + 1) % 5
    np.savez(tmp_path / "labelled.npz", image=images, y=labels)
    return tmp_path / "labelled.npz"


def test_top1_is_counted_over_all_examples(run: Any, float_model: Path, labelled: Path) -> None:
    result = run("evaluate", float_model, "-d", labelled, "--batch-size", 16)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{float_model}: top1 75.00% (95 %: 59.81% to 85.81%) over 40 predictions\n"


def test_samples_limit_what_is_read(run: Any, float_model: Path, labelled: Path) -> None:
    result = run("evaluate", float_model, "-d", labelled, "--samples", 20, "--json")
    document = json.loads(result.stdout)
    assert (document["metric"], document["value"], document["n"]) == ("top1", 0.5, 20)
    assert document["interval"][0] < 0.5 < document["interval"][1]


def test_a_model_agrees_with_itself(run: Any, float_model: Path, data: Path) -> None:
    result = run("evaluate", float_model, "-d", data, "-m", "agreement", "--reference", float_model, "--json")
    document = json.loads(result.stdout)
    assert (document["value"], document["reference"]) == (1.0, str(float_model))


@pytest.mark.int8
def test_an_8_bit_model_is_close_to_its_float_model(
    run: Any, float_model: Path, int8_model: tuple[Path, Any], data: Path
) -> None:
    result = run("evaluate", int8_model[0], "-d", data, "-m", "mse", "--reference", float_model, "--json")
    assert 0 < json.loads(result.stdout)["value"] < 0.01


def test_data_that_only_running_refuses_is_bad_input(run: Any, tmp_path: Path) -> None:
    from eightfold.graph.writer import Writer
    from eightfold.tf.savedmodel import write_saved_model

    w = Writer()
    x = w.input("image", (None, None, None, 2))
    write_saved_model(w.model(y=w.conv(x, w.normal(3, 3, 2, 4), padding="VALID")), tmp_path / "net")
    np.savez(tmp_path / "tiny.npz", image=np.zeros((4, 1, 1, 2), np.float32), y=np.zeros(4))
    result = run("evaluate", tmp_path / "net", "-d", tmp_path / "tiny.npz")
    assert result.exit_code == 2
    assert "cannot run on this data" in result.stderr
    assert result.stderr.count("\n") == 1


def test_two_models_are_compared_example_by_example(
    run: Any, float_model: Path, labelled: Path, tmp_path: Path
) -> None:
    from eightfold.graph.writer import Writer
    from eightfold.tf.savedmodel import write_saved_model

    w = Writer()
    x = w.input("image", (None, 12, 12, 8))
    mean = w.node("Mean", x, w.const([1, 2]), attrs={"Tidx": DType("int32"), "keep_dims": False})
    write_saved_model(w.model(scores=w.matmul(mean, w.normal(8, 5))), tmp_path / "linear")
    arguments = ("evaluate", tmp_path / "linear", "-d", labelled, "--reference", float_model)
    document = json.loads(run(*arguments, "--json").stdout)
    compared = document["comparison"]
    assert (compared["reference"]["value"], compared["reference"]["n"]) == (0.75, 40)
    assert compared["difference"] == pytest.approx(document["value"] - 0.75)
    assert compared["drop"] == -compared["difference"]
    assert compared["interval"][0] < compared["difference"] < compared["interval"][1] < 0
    assert compared["verdict"] == "worse"
    lines = run(*arguments).stdout.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["top1", "top1"]
    assert lines[2].startswith(f"difference: {100 * compared['difference']:+.2f} points (95 %: ")
    assert lines[2].endswith("), worse")


def test_a_difference_that_is_noise_is_called_so(run: Any, float_model: Path, labelled: Path) -> None:
    result = run("evaluate", float_model, "-d", labelled, "--reference", float_model)
    assert result.stdout.splitlines()[2] == "difference: +0.00 points (95 %: -6.41 to +6.41), within the noise"


def test_the_users_own_metric(
    run: Any, float_model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_ef_metric.py").write_text(
        "def second(outputs, labels):\n    return outputs.argsort(axis=1)[:, -2] == labels\n"
        "def broken(outputs, labels):\n    return outputs.no_such_thing\n"
    )
    monkeypatch.chdir(tmp_path)
    document = json.loads(run("evaluate", float_model, "-d", labelled, "-m", "my_ef_metric:second", "--json").stdout)
    assert (document["metric"], document["n"]) == ("my_ef_metric:second", 40)
    assert 0 <= document["value"] <= 0.25
    result = run("evaluate", float_model, "-d", labelled, "-m", "my_ef_metric:broken")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "my_ef_metric:broken failed: AttributeError" in result.stderr


def test_labels_that_count_from_1(run: Any, float_model: Path, labelled: Path, tmp_path: Path) -> None:
    arrays = np.load(labelled)
    np.savez(tmp_path / "from1.npz", image=arrays["image"], y=arrays["y"] + 1)
    result = run("evaluate", float_model, "-d", tmp_path / "from1.npz", "--first-label", 1, "--json")
    assert json.loads(result.stdout)["value"] == 0.75


def test_a_metric_that_sees_all_outputs(run: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 2, 6), tf.float32, name="rows")])
    def detect(rows: Any) -> dict[str, Any]:
        return {
            "detection_boxes": rows[..., :4],
            "detection_classes": rows[..., 4],
            "detection_scores": rows[..., 5],
            "num_detections": tf.reduce_sum(tf.cast(rows[..., 5] > 0, tf.float32), axis=1),
        }

    module = tf.Module()
    module.detect = detect
    tf.saved_model.save(module, str(tmp_path / "net"), signatures=detect)
    whole, left = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]
    rows = np.array([[[*whole, 1, 0.9], [*left, 1, 0.8]], [[*left, 2, 0.7], [0] * 6]], np.float32)
    truth = np.array([[[*whole, 1]], [[*left, 2]]], np.float32)
    np.savez(tmp_path / "data.npz", rows=rows, y=truth)
    for name in ("voc-map", "coco-map50"):
        result = run("evaluate", tmp_path / "net", "-d", tmp_path / "data.npz", "-m", name)
        assert result.stdout == f"{tmp_path / 'net'}: {name} 1 (95 %: 1 to 1) over 2 images\n", result.stderr


def test_bad_metrics_are_refused_before_anything_is_read(run: Any) -> None:
    for arguments, message in (
        (("-m", "top-1"), "unknown metric 'top-1'; did you mean 'top1'?"),
        (("-m", "agreement"), "agreement compares two models: name the second with --reference MODEL"),
        (("-m", "auc", "--first-label", 1), "the first label is 1, and auc knows no class numbers"),
        (("-m", "no_such_module_of_mine:score"), "cannot be imported"),
    ):
        result = run("evaluate", "no-such-model", "-d", "none.npz", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
