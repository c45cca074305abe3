from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
