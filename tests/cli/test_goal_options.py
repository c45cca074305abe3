"""`eightfold quantize` that is told what to hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eightfold as ef
from eightfold.search import accuracy

pytestmark = pytest.mark.int8


@pytest.fixture
def labelled(float_model: Path, images: np.ndarray, tmp_path: Path) -> Path:
    """The float model's own answers as labels: it is right on all of them."""
    import tensorflow as tf

    scores = tf.saved_model.load(str(float_model)).signatures["serving_default"](image=images)["scores"].numpy()
    file = tmp_path / "labelled.npz"
    np.savez(file, image=images, y=scores.argmax(axis=1))
    return file


@pytest.fixture(autouse=True)
def no_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "variants", lambda recipe, model: iter(()))


def test_the_target_is_held(run: Any, float_model: Path, data: Path, labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "net"
    asked = ("quantize", float_model, "-d", data, "--eval-data", labelled, "--max-drop", 0.2, "-o", output)
    result = run(*asked, "--budget", "10m")
    assert result.exit_code == 0, result.stderr
    assert "accuracy against speed" in result.stdout
    assert "The target is held: top1" in result.stdout
    assert "at most 0.2 allowed (one candidate was tried)." in result.stdout
    found = ef.read_report(output).search
    assert found is not None
    assert (found.reached, found.metric, found.float_value, found.max_drop) == (True, "top1", 1.0, 0.2)
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "net.trials.jsonl").read_text().splitlines()]
    assert kinds[:3] == ["search", "trial", "trial"]


def test_a_target_out_of_reach_exits_with_3_and_saves_the_best(
    run: Any, float_model: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net"
    np.savez(tmp_path / "plain.npz", **np.load(data))
    judged = ("--eval-data", tmp_path / "plain.npz", "--metric", "mse", "--max-drop", 0)
    result = run("quantize", float_model, "-d", data, *judged, "-o", output)
    assert result.exit_code == 3, result.stderr
    assert "The target was not reached: the best is mse -" in result.stdout
    found = ef.read_report(output).search
    assert found is not None
    assert not found.reached
    assert found.float_value == 0.0  # nothing is as close to the float model as itself
    assert found.best.value == max(trial.value for trial in found.trials)

    resumed = run("quantize", float_model, "-d", data, *judged, "-o", output, "--resume", "--json")
    assert resumed.exit_code == 3, resumed.stderr
    again = json.loads(resumed.stdout)["search"]
    assert [trial["key"] for trial in again["trials"]] == [trial.key for trial in found.trials]
    assert [trial["seconds"] for trial in again["trials"]] == [trial.seconds for trial in found.trials]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-drop", "0.1"], "--max-drop is for holding an accuracy: say what to judge on with --eval-data DATA"),
        (["--metric", "top1"], "--metric is for holding an accuracy"),
        (["--resume"], "--resume is for holding an accuracy"),
        (["--metric-output", "y"], "--metric-output is for holding an accuracy"),
        (["--eval-data", "x.npz", "--max-drop", "-0.1"], "--max-drop is how much may be lost: expected 0 or more"),
        (["--eval-data", "x.npz", "--metric", "topp1"], "unknown metric 'topp1'; did you mean 'top1'?"),
        (["--eval-data", "x.npz", "--budget", "soon"], "a budget is a length of time such as 30m, 1.5h or 90s"),
        (["--eval-data", "x.npz", "--dynamic"], "leave --dynamic away"),
        (["--eval-data", "nowhere.npz"], "there is no file or folder nowhere.npz"),
    ],
)
def test_options_that_make_no_sense(
    run: Any, float_model: Path, data: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    result = run("quantize", float_model, "-d", data, "-o", tmp_path / "net", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (tmp_path / "net").exists()
