from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eightfold.bench import Settings, Subject, compare, size_mb
from eightfold.errors import DataError, EightfoldError, ModelError

WORKER = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
QUICK = Settings(batch_size=4, rounds=3, seconds=0.0, least=2, warm_up=0.0)


def subject(folder: Path, told: str) -> Subject:
    model = folder / f"{told}.model"
    model.write_text(told, encoding="utf-8")
    return Subject(f"model {told}", model, WORKER)


def test_compares_in_turns(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    models = [subject(tmp_path, "20"), subject(tmp_path, "5")]
    result = compare(models, QUICK, progress=lambda *what: said.append(what))
    slow, fast = result.measurements
    assert slow.timing.median_ms >= 20
    assert fast.speedup.median == pytest.approx(4, rel=0.3)
    assert slow.speedup.median == 1
    assert fast.images_per_second == pytest.approx(4 / fast.timing.median_ms * 1e3)
    assert (fast.timing.runs, fast.timing.rounds, len(fast.rounds_ms)) == (6, 3, 3)
    assert fast.peak_mb > 1
    assert dict(fast.versions) == {"stand-in": "1.0", "batch": "4"}
    turns = [what for what, _, _ in said if what.startswith("run")]
    assert turns == ["run model 20", "run model 5"] * 3
    assert said[-1] == ("done", 8, 8)


def test_json_lines_carry_their_context(tmp_path: Path) -> None:
    result = compare([subject(tmp_path, "1"), subject(tmp_path, "2")], QUICK, command="eightfold benchmark")
    lines = [json.loads(line) for line in result.to_json().splitlines()]
    assert [line["name"] for line in lines] == ["model 1", "model 2"]
    for line in lines:
        assert line["settings"]["batch_size"] == 4
        assert line["machine"]["cores"] >= 1
        assert line["command"] == "eightfold benchmark"
        assert line["timing"]["median_ms"] > 0
        assert line["speedup"]["low"] <= line["speedup"]["median"] <= line["speedup"]["high"]


def test_a_refusal_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^model refuse cannot be measured: it has no signature 'x'$"):
        compare([subject(tmp_path, "refuse")], QUICK)


def test_a_dead_worker_leaves_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(EightfoldError, match=r"model die exited with code 3.*\n?.*the allocator is out"):
        compare([subject(tmp_path, "die")], QUICK)


def test_a_worker_killed_while_it_runs(tmp_path: Path) -> None:
    with pytest.raises(EightfoldError, match="model kill was ended by signal 9 when asked to warm_up: it wrote noth"):
        compare([subject(tmp_path, "kill")], QUICK)


def test_a_crash_shows_the_end_of_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(EightfoldError, match=r"(?s)exited with code 1.*ValueError: a bug of the worker"):
        compare([subject(tmp_path, "crash")], QUICK)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    model = subject(tmp_path, "1").model
    with pytest.raises(EightfoldError, match="cannot be started: /no/python: No such file"):
        compare([Subject("lost", model, ("/no/python",))], QUICK)


def test_no_model_and_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        compare([])
    with pytest.raises(ModelError, match=r"nowhere does not exist; expected a SavedModel"):
        compare([tmp_path / "nowhere"])


def test_empty_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"input 'x' is empty: its shape is \(0, 3\)"):
        compare([subject(tmp_path, "1")], QUICK, feeds={"x": np.zeros((0, 3))})


def test_size_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(bytes(1_500_000))
    (tmp_path / "variables" / "data").write_bytes(bytes(500_000))
    assert size_mb(tmp_path / "saved_model.pb") == 1.5
    assert size_mb(tmp_path) == 2.0
