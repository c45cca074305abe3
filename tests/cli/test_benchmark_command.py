from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import eightfold.bench
from eightfold.bench import Comparison, Measurement, Ratio, Settings, Timing
from eightfold.bench.machine import this_machine


def measured(name: str, ratio: float) -> Measurement:
    timing = Timing(2.0, 2.5, 3.0, 1.9, 0.1, 15, 5)
    return Measurement(name, name, 1.5, 300.0, timing, 500.0, Ratio(ratio, ratio, ratio), {}, (2.0,) * 5)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Replaces the measuring; gives the settings that it was asked for."""
    settings: list[Settings] = []

    def compare(models: list[str], how: Settings, progress: Any) -> Comparison:
        settings.append(how)
        progress("run", 1, 2)
        ones = tuple(measured(Path(model).name, 1.0 + i) for i, model in enumerate(models))
        return Comparison(ones, how, this_machine(), "a command", "today")

    monkeypatch.setattr(eightfold.bench, "compare", compare)
    return settings


def test_options_reach_the_measurement(run: Any, float_model: Path, asked: list[Settings]) -> None:
    threads = ("--intra", 2, "--inter", 1, "--batch-size", 32)
    result = run("benchmark", float_model, *threads, "--rounds", 7, "--seconds", 0.5, "--signature", "s")
    assert result.exit_code == 0, result.stderr
    expected = Settings(batch_size=32, intra=2, inter=1, rounds=7, seconds=0.5, signature="s")
    assert asked == [expected]


def test_the_table_and_the_json_have_all_models(run: Any, float_model: Path, asked: list[Settings]) -> None:
    table = run("benchmark", float_model, float_model).stdout
    assert "2.00x" in table
    assert "(2.00-2.00)" in table
    document = json.loads(run("benchmark", float_model, float_model, "--json").stdout)
    assert [one["speedup"]["median"] for one in document["models"]] == [1.0, 2.0]
    assert document["models"][0]["timing"]["p99_ms"] == 3.0
    assert document["machine"]["cores"] >= 1


def test_a_real_model_is_measured(run: Any, float_model: Path) -> None:
    result = run("benchmark", float_model, "--rounds", 1, "--seconds", 0.01, "--json")
    assert result.exit_code == 0, result.stderr
    one = json.loads(result.stdout)["models"][0]
    assert one["timing"]["median_ms"] > 0
    assert one["speedup"]["median"] == 1.0
