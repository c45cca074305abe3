from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eightfold as ef
from eightfold.cli.quantize import build_recipe
from eightfold.cli.screen import finite
from eightfold.system.onednn import asked_for

pytestmark = pytest.mark.int8


def test_the_saved_model_answers_like_the_float_one(
    int8_model: tuple[Path, Any], float_model: Path, images: np.ndarray
) -> None:
    import tensorflow as tf

    answers = [
        tf.saved_model.load(str(path)).signatures["serving_default"](image=images)["scores"].numpy()
        for path in (float_model, int8_model[0])
    ]
    assert np.abs(answers[0] - answers[1]).max() < 0.05 * np.abs(answers[0]).max()
    assert not np.array_equal(*answers)


def test_the_summary_says_what_was_done(int8_model: tuple[Path, Any], float_model: Path) -> None:
    output, result = int8_model
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"\d blocks are in 8 bits, in 2 connected pieces of \d, 1", lines[0])
    assert any(line.split()[:1] == ["conv_relu"] and line.split()[-1] == "2" for line in lines)
    assert any(line.startswith("Softplus") and "no 8-bit kernel" in line for line in lines)
    for label in ("against float", "size", "speed", "saved", "To try next"):
        assert any(line.startswith(label) for line in lines)
    assert "on 8 held-back samples" in result.stdout
    assert f"eightfold benchmark {float_model} {output}" in result.stdout
    assert any(line.startswith("to run") for line in lines) is bool(asked_for())
    assert result.stderr == ""


def test_options_come_over_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('observer = "kl"\nexclude = ["^head"]\nmin_sqnr_db = 20.0\n')
    recipe = build_recipe(file, "mse", ["stem"], per_tensor=True)
    assert (recipe.observer, recipe.per_channel, recipe.min_sqnr_db) == ("mse", False, 20.0)
    assert recipe.exclude == ("^head", "stem")
    assert build_recipe(None, None, (), per_tensor=False) == ef.Recipe()


def test_json_and_the_options_reach_the_result(
    run: Any, float_model: Path, data: Path, steady: Path, tmp_path: Path
) -> None:
    output = tmp_path / "net.pb"
    excluded = ("--exclude", "^(stem|biased|conv)(/relu)?$", "--exclude", "^(matmul|mean)")
    options = (*excluded, "--observer", "mse", "--per-tensor", "--samples", 20, "--batch-size", 5)
    form = ("--format", "frozen", "--recipe", steady)
    result = run("quantize", float_model, "-d", data, "-o", output, *options, *form, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["output"] == str(output)
    assert output.is_file()
    assert [step["name"] for step in report["steps"]] == ["tail/relu"]
    assert report["recipe"]["observer"] == "mse"
    assert report["recipe"]["per_channel"] is False
    assert report["fidelity"]["samples"] + report["calibration_samples"] == 20
    assert report["speed"][0]["batch_size"] == 5


def test_dynamic_needs_no_data_and_quiet_says_nothing(run: Any, float_model: Path, tmp_path: Path) -> None:
    result = run("quantize", float_model, "-o", tmp_path / "out", "--dynamic", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert ef.read_report(tmp_path / "out").mode == "dynamic"


def test_overwrite_replaces_what_is_there(run: Any, float_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "old.txt").write_text("")
    result = run("quantize", float_model, "-o", output, "--dynamic", "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert (output / "saved_model.pb").is_file()
    assert not (output / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_leaves_nothing_behind(
    run: Any, float_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eightfold.quantization.verify import Verifier

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Verifier, "fidelity", interrupt)
    result = run("quantize", float_model, "-d", data, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_infinities() -> None:
    assert finite({"a": float("inf"), "b": (1, float("nan"), "x")}) == {"a": None, "b": [1, None, "x"]}
