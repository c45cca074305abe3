from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eightfold.bench import Runtime, Settings, Subject, compare, size_mb, suite
from eightfold.bench.arrays import write_arrays
from eightfold.bench.machine import this_machine
from eightfold.bench.process import Worker
from eightfold.errors import DataError, EightfoldError, ModelError, PlatformError

WORKER = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
QUICK = Settings(rounds=3, seconds=0.0, least=2, warm_up=0.0)
FOUR = Runtime(batch_size=4)


def subject(folder: Path, told: str, runtime: Runtime = FOUR) -> Subject:
    model = folder / f"{told}.model"
    model.write_text(told, encoding="utf-8")
    return Subject(f"model {told}", model, WORKER, runtime=runtime)


def test_compares_in_turns(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    models = [subject(tmp_path, "20"), subject(tmp_path, "5")]
    result = compare(models, QUICK, progress=lambda *what: said.append(what))
    slow, fast = result.measurements
    assert slow.timing.median_ms >= 20
    assert fast.speedup.median == pytest.approx(4, rel=0.3)
    assert slow.speedup.median == 1
    assert fast.images_per_second == pytest.approx(4 / fast.timing.median_ms * 1e3, rel=0.3)
    assert (fast.timing.runs, fast.timing.rounds, len(fast.rounds_ms)) == (6, 3, 3)
    assert fast.peak_mb > 1
    assert 0 <= fast.cores_busy < 1
    assert dict(fast.versions) == {"stand-in": "1.0", "batch": "4"}
    turns = [what for what, _, _ in said if what.startswith("run")]
    assert turns == ["run model 20", "run model 5"] * 3
    assert said[-1] == ("done", 8, 8)


def test_json_lines_carry_their_context(tmp_path: Path) -> None:
    result = compare([subject(tmp_path, "1"), subject(tmp_path, "2")], QUICK, command="eightfold benchmark")
    lines = [json.loads(line) for line in result.to_json().splitlines()]
    assert [line["name"] for line in lines] == ["model 1", "model 2"]
    for line in lines:
        assert line["runtime"]["batch_size"] == 4
        assert line["settings"]["rounds"] == len(line["rounds_ms"]) == len(line["rounds_images_per_second"]) == 3
        assert line["machine"]["cores"] >= 1
        assert line["command"] == "eightfold benchmark"
        assert line["timing"]["median_ms"] > 0
        assert line["speedup"]["low"] <= line["speedup"]["median"] <= line["speedup"]["high"]


def test_instances_run_at_the_same_time_and_their_images_add_up(tmp_path: Path) -> None:
    two = subject(tmp_path, "30", Runtime(batch_size=4, instances=2))
    how = replace(QUICK, mode="throughput")
    alone, both = compare([subject(tmp_path, "30"), two], how).measurements
    assert both.timing.runs == 2 * alone.timing.runs
    assert [len(turn.times) for turn in both.turns] == [2, 2, 2]
    assert both.images_per_second == pytest.approx(2 * alone.images_per_second, rel=0.3)
    assert both.speedup.median == pytest.approx(2, rel=0.3)
    assert both.peak_mb > 1.5 * alone.peak_mb


def test_latency_is_not_shortened_by_instances(tmp_path: Path) -> None:
    two = subject(tmp_path, "30", Runtime(batch_size=4, instances=2))
    result = compare([subject(tmp_path, "30"), two], replace(QUICK, mode="latency"))
    assert result.measurements[1].speedup.median == pytest.approx(1, rel=0.3)


def test_batches_of_different_sizes_are_compared_by_the_image(tmp_path: Path) -> None:
    small = subject(tmp_path, "10", Runtime(batch_size=1))
    result = compare([small, subject(tmp_path, "20")], QUICK)
    assert result.measurements[1].speedup.median == pytest.approx(2, rel=0.3)


def test_settings_are_in_the_environment_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "away")
    runtime = Runtime(intra=3, env={"SETTING": "7"})
    told = replace(subject(tmp_path, "env", runtime), env={"TAKEN": None, "OWN": "x"})
    (measured,) = compare([told], QUICK).measurements
    assert dict(measured.versions) == {"TF_NUM_INTRAOP_THREADS": "3", "SETTING": "7", "OWN": "x"}


def test_so_many_batches_and_no_more(tmp_path: Path) -> None:
    how = Settings(batches=7, rounds=3, warm_up_batches=4)
    (measured,) = compare([subject(tmp_path, "1")], how).measurements
    assert [len(turn.latencies) for turn in measured.turns] == [3, 2, 2]
    assert len(compare([subject(tmp_path, "1")], replace(how, batches=2)).measurements[0].turns) == 2


def test_more_cores_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="2 instances of 5000 cores need 10000 cores; this process may use"):
        compare([subject(tmp_path, "1", Runtime(instances=2, cores=5000))], QUICK)


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


def test_a_model_that_is_given_again_has_a_name_of_its_own(tmp_path: Path) -> None:
    one, other = subject(tmp_path, "1"), subject(tmp_path, "2")
    models = [one, one, replace(other, name="model 1 (2)"), one]
    result = compare(models, QUICK)
    assert [found.name for found in result.measurements] == ["model 1", "model 1 (2)", "model 1 (2) (2)", "model 1 (3)"]
    assert result["model 1 (2) (2)"].model == str(other.model)


def test_empty_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"input 'x' is empty: its shape is \(0, 3\)"):
        compare([subject(tmp_path, "1")], QUICK, feeds={"x": np.zeros((0, 3))})


def test_size_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(bytes(1_500_000))
    (tmp_path / "variables" / "data").write_bytes(bytes(500_000))
    assert size_mb(tmp_path / "saved_model.pb") == 1.5
    assert size_mb(tmp_path) == 2.0


def test_what_a_run_is_recorded_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/eightfold", "benchmark", "a net"])
    monkeypatch.setenv("KMP_BLOCKTIME", "0")
    said: list[str] = []
    monkeypatch.setattr(suite, "this_machine", lambda: said.append("machine") or this_machine())
    result = compare([subject(tmp_path, "1")], QUICK, progress=lambda what, *_: said.append(what))
    assert result.command == "eightfold benchmark 'a net'"
    assert result.context()["variables"]["KMP_BLOCKTIME"] == "0"
    assert said[0] == "machine"  # its load is that before the run


def test_no_allocator_of_the_shell_reaches_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/libjemalloc.so.2:/nowhere/libother.so")
    script = """read line; printf '{"found": "%s"}\\n' "$LD_PRELOAD" """
    with Worker(Subject("net", Path("net"), ("sh", "-c", script))) as worker:
        assert worker.ask("tell") == {"found": "/nowhere/libother.so"}


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    arrays = {"file": np.arange(6.0).reshape(2, 3).T, "allow_pickle": np.array(["a", None]), "self": np.float32(2)}
    write_arrays(tmp_path / "arrays.npz", arrays)
    with np.load(tmp_path / "arrays.npz", allow_pickle=True) as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
