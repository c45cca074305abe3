"""Whole predictions with workers of their own processes."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.errors import DataError, EightfoldError, ModelError, OutputError
from eightfold.prediction import predict as predict_module
from eightfold.prediction.job import Call, Done, Job
from eightfold.prediction.journal import Journal
from eightfold.prediction.local import Workers
from eightfold.prediction.model_files import digest
from eightfold.prediction.predict import predict
from eightfold.running.process import this_eightfold
from eightfold.running.settings import Runtime

Model = Callable[..., Path]
UNPINNED = Runtime(batch_size=4, instances=2)
STAND_IN = Path(__file__).with_name("stand_in_model.py")


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_every_row_is_answered_in_its_place(model: Model, rows: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    done = predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED, progress=lambda *what: told.append(what))
    values = np.load(rows)
    answers = arrays(tmp_path / "out.npz")
    np.testing.assert_array_equal(answers["total"], values.sum(axis=1))
    np.testing.assert_array_equal(answers["scores"], np.tile(values, 3))
    assert (done.rows, done.computed, done.deaths, done.skipped) == (200, 200, 0, ())
    assert done.columns == {"total": "float32", "scores": "float32[9]"}
    assert not (tmp_path / "out.npz.partial").exists()
    counts = [count for stage, count, total in told if stage == "predict" and total == 200]
    assert counts == sorted(counts)
    assert counts[-1] == 200


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_the_file_is_the_same_whatever_the_number_of_instances(
    model: Model, rows: Path, tmp_path: Path, suffix: str
) -> None:
    found = set()
    for instances in (1, 3):
        output = tmp_path / f"out-{instances}{suffix}"
        predict(model(), rows, output, runtime=UNPINNED, instances=instances)
        found.add(output.read_bytes())
    assert len(found) == 1


def test_rows_that_kill_a_worker_are_computed_by_the_next(model: Model, rows: Path, tmp_path: Path) -> None:
    done = predict(model(kills={"17": 2, "150": 1}), rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert done.deaths == 3
    np.testing.assert_array_equal(arrays(tmp_path / "out.npz")["total"], np.load(rows).sum(axis=1))


def test_rows_that_kill_every_worker_are_named_and_the_rest_is_kept(model: Model, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(EightfoldError, match=r"3 workers died over rows 16 to 19.*was ended by signal 9"):
        predict(model(kills={"17": 9}), rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert not (tmp_path / "out.npz").exists()
    assert (tmp_path / "out.npz.partial" / "part-000000").exists()


def test_a_worker_that_never_starts_ends_the_run(model: Model, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(EightfoldError, match="exited with code 1 when asked to open: cannot even start"):
        predict(model(stillborn=True), rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert not (tmp_path / "out.npz.partial").exists()


def test_a_model_that_is_refused_leaves_nothing(model: Model, rows: Path, tmp_path: Path) -> None:
    model()
    with pytest.raises(ModelError, match="there is no model at"):
        predict(tmp_path / "none", rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert not (tmp_path / "out.npz.partial").exists()


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Kills random workers at random moments; gives the processes that it has killed."""
    chance, killed, over = random.Random(3), [], threading.Event()
    started: list[Workers] = []

    class Watched(Workers):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            started.append(self)

    def kill() -> None:
        while not over.wait(chance.uniform(0.1, 0.5)):
            pids = started[0].pids if started else ()
            if pids and len(killed) < 4:
                killed.append(chance.choice(pids))
                os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(predict_module, "Workers", Watched)
    thread = threading.Thread(target=kill)
    thread.start()
    yield killed
    over.set()
    thread.join()


def test_workers_killed_at_random_change_no_row(model: Model, rows: Path, tmp_path: Path, killer: list[int]) -> None:
    done = predict(model(seconds=0.03), rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert killer
    assert done.deaths >= 1
    np.testing.assert_array_equal(arrays(tmp_path / "out.npz")["total"], np.load(rows).sum(axis=1))


PROGRAM = """
import sys
from pathlib import Path
from eightfold.prediction import job, local
from eightfold.prediction.predict import predict
from eightfold.running.settings import Runtime
local.WORKER = (sys.executable, sys.argv[1])
job.SMALLEST_SHARD = 1
predict(sys.argv[2], sys.argv[3], sys.argv[4], runtime=Runtime(batch_size=4, instances=2))
"""


def test_a_run_that_was_killed_is_resumed_and_leaves_no_process(model: Model, rows: Path, tmp_path: Path) -> None:
    arguments = [STAND_IN, model(seconds=0.05), rows, tmp_path / "out.npz"]
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], env={**os.environ, **this_eightfold()}
    )
    partial = tmp_path / "out.npz.partial"
    _until(lambda: len(list(partial.glob("part-*"))) >= 5)
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert len(workers) == 2
    run.kill()
    run.wait()
    _until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not (tmp_path / "out.npz").exists()

    with pytest.raises(OutputError, match=r"parts of a run that did not finish.*--resume.*--overwrite"):
        predict(tmp_path / "model.json", rows, tmp_path / "out.npz", runtime=UNPINNED)
    with pytest.raises(DataError, match=r"another job.*batch size: 4 then, 5 now"):
        predict(tmp_path / "model.json", rows, tmp_path / "out.npz", runtime=UNPINNED, batch_size=5, resume=True)
    (partial / ".torn.tmp").write_text("of a worker that was killed")
    (tmp_path / "model.json").rename(tmp_path / "moved.json")
    done = predict(tmp_path / "moved.json", rows, tmp_path / "out.npz", runtime=UNPINNED, resume=True)
    assert 0 < done.computed <= 200 - 5 * 4
    predict(tmp_path / "moved.json", rows, tmp_path / "whole.npz", runtime=UNPINNED)
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not partial.exists()


def _until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")


def test_an_output_is_replaced_only_on_demand(model: Model, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "out.npz").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED)
    assert (tmp_path / "out.npz").read_text() == "mine"
    predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED, overwrite=True)
    assert len(arrays(tmp_path / "out.npz")["total"]) == 200


def test_two_processes_do_not_write_the_same_output(model: Model, rows: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "out.npz"), pytest.raises(OutputError, match="another process works on"):
        predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED)


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EWOULDBLOCK, "another process works on"), (errno.ENOLCK, "partial cannot be locked: No locks available")],
)
def test_a_lock_that_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OutputError, match=said):
        Journal(tmp_path / "out.npz")


def test_a_model_that_was_renamed_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "net" / "variables").mkdir(parents=True)
    (tmp_path / "net" / "variables" / "data").write_bytes(b"1")
    before = digest(tmp_path / "net")
    (tmp_path / "net").rename(tmp_path / "other")
    assert digest(tmp_path / "other") == before
    (tmp_path / "other" / "variables").rename(tmp_path / "other" / "assets")
    assert digest(tmp_path / "other") != before


def test_an_output_that_is_called_error(model: Model, rows: Path, tmp_path: Path) -> None:
    net = model(error=True)
    predict(net, rows, tmp_path / "out.npz", runtime=UNPINNED)
    np.testing.assert_array_equal(arrays(tmp_path / "out.npz")["error"], np.load(rows).max(axis=1))
    with pytest.raises(ModelError, match=r"an output 'error', and the column.*--outputs, or leave out --skip-errors"):
        predict(net, rows, tmp_path / "no.npz", runtime=UNPINNED, skip_errors=True)
    predict(net, rows, tmp_path / "total.npz", runtime=UNPINNED, skip_errors=True, outputs=["total"])


def test_rows_are_counted_once_each_instance_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first parts of two instances come 10 s apart; from then on 4 rows come each second."""
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(predict_module.time, "perf_counter", lambda: next(clock))
    job = Job(Call("/model"), 4, 16, 4, "/listing.json")
    count = predict_module._Count(job, job.shards, lambda *_: None, lambda: 2)
    for shard in job.shards:
        count(Done(shard, 0))
    assert (count.first, count.since) == (8, 20.0)


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_unknown_kinds_of_output(model: Model, rows: Path, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(OutputError, match=rf"out\.{suffix} is of no known kind; expected a name that ends in"):
        predict(model(), rows, tmp_path / f"out.{suffix}")


def test_chosen_outputs_and_highest_classes(model: Model, rows: Path, tmp_path: Path) -> None:
    predict(model(), rows, tmp_path / "total.npz", runtime=UNPINNED, outputs=["total"], samples=7)
    assert {name: values.shape for name, values in arrays(tmp_path / "total.npz").items()} == {"total": (7,)}
    predict(model(), rows, tmp_path / "top.npz", runtime=UNPINNED, outputs=["scores"], top=3)
    answers = arrays(tmp_path / "top.npz")
    assert answers["class"][100].tolist() == [0, 3, 6]
    assert answers["score"][100].tolist() == [100.0] * 3
    with pytest.raises(ModelError, match=r"the output is 'total' float32\[\?\]; choose outputs with --outputs"):
        predict(model(), rows, tmp_path / "no.npz", runtime=UNPINNED, top=3)
    with pytest.raises(ModelError, match="the model has no output 'sum'; it has: total, scores"):
        predict(model(), rows, tmp_path / "no.npz", runtime=UNPINNED, outputs=["sum"])


def test_rows_that_cannot_be_read(model: Model, rows: Path, tmp_path: Path) -> None:
    values = np.load(rows)
    values[[3, 4, 150], 1] = np.nan
    np.save(rows, values)
    with pytest.raises(DataError, match=r"row (3|4|150): the data for input 'x' holds NaN"):
        predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED)
    done = predict(model(), rows, tmp_path / "out.npz", runtime=UNPINNED, skip_errors=True, overwrite=True)
    answers = arrays(tmp_path / "out.npz")
    bad = np.isin(np.arange(200), [3, 4, 150])
    assert [one.row for one in done.skipped] == [3, 4, 150]
    np.testing.assert_array_equal(answers["total"][~bad], values.sum(axis=1)[~bad])
    assert np.isnan(answers["scores"][bad]).all()
    assert all("holds NaN" in text for text in answers["error"][bad])
    assert not answers["error"][~bad].any()


def generated() -> Iterator[dict[str, Any]]:
    for row in range(30):
        yield {"x": np.full(3, row, np.float32)}


@pytest.mark.parametrize(
    "data",
    [
        generated(),
        generated,
        np.repeat(np.arange(30, dtype=np.float32)[:, None], 3, axis=1),
    ],
    ids=["a generator", "a function", "an array"],
)
def test_data_that_workers_cannot_read_by_themselves(model: Model, tmp_path: Path, data: Any) -> None:
    predict(model(), data, tmp_path / "out.npz", runtime=UNPINNED)
    np.testing.assert_array_equal(arrays(tmp_path / "out.npz")["total"], 3 * np.arange(30))


def test_labels_of_the_data_are_a_column(model: Model, tmp_path: Path) -> None:
    labels = np.arange(30) % 7
    np.savez_compressed(tmp_path / "data.npz", x=np.ones((30, 3), np.float32), y=labels)
    predict(model(), tmp_path / "data.npz", tmp_path / "out.npz", runtime=UNPINNED)
    np.testing.assert_array_equal(arrays(tmp_path / "out.npz")["label"], labels)


def test_no_rows(model: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 3), np.float32))
    with pytest.raises(DataError, match="the data set is empty"):
        predict(model(), tmp_path / "none.npy", tmp_path / "out.npz", runtime=UNPINNED)
