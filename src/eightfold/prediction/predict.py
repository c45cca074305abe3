"""Runs a model over a data set of any size, and writes its answers to one file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from eightfold.errors import OutputError
from eightfold.prediction.columns import Table
from eightfold.prediction.job import Done, Job, Shard, call_of
from eightfold.prediction.journal import Journal
from eightfold.prediction.local import Workers
from eightfold.prediction.model_files import as_file
from eightfold.prediction.output import assemble, check_output
from eightfold.prediction.parts import Skipped
from eightfold.prediction.plan import Wish, planned
from eightfold.prediction.ray import OnRay
from eightfold.prediction.settings import settled
from eightfold.running.settings import Mode, Runtime

__all__ = ["Predictions", "Seconds", "predict"]

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with what is being done, the rows done and all rows."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long it took.

    Attributes:
        start: until as many parts were there as there are instances: each loads TensorFlow and the model, and has its
            graph optimised by TensorFlow when it first runs.
        compute: from then until the last part was there.
        write: until the output was.
    """

    start: float
    compute: float
    write: float

    @property
    def whole(self) -> float:
        return self.start + self.compute + self.write


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was done.

    Attributes:
        output: the file.
        rows: in it.
        columns: what they hold, by name.
        computed: rows that this run computed; the others were there from a run before it.
        first: how many of them were there at the end of `Seconds.start`.
        skipped: the rows without an answer.
        deaths: how many workers died and were replaced.
        instances: how many workers computed.
        batch_size: rows in a batch.
        seconds: how long it took.
        notes: what was decided on the user's behalf.
    """

    output: Path
    rows: int
    columns: dict[str, str]
    computed: int
    first: int
    skipped: tuple[Skipped, ...]
    deaths: int
    instances: int
    batch_size: int
    seconds: Seconds
    notes: tuple[str, ...] = ()

    @property
    def rows_per_second(self) -> float:
        """After the start, all instances together; 0 where there was no more than a part for each of them."""
        return (self.computed - self.first) / self.seconds.compute if self.computed > self.first else 0.0


def predict(  # noqa: PLR0913  (one argument for each thing that may be wanted)
    model: Any,
    data: Any,
    output: str | PathLike[str],
    *,
    signature: str | None = None,
    outputs: Sequence[str] = (),
    top: int | None = None,
    preprocess: str | None = None,
    samples: int | None = None,
    batch_size: int | None = None,
    instances: int | None = None,
    mode: Mode | None = None,
    runtime: Runtime | None = None,
    cluster: str | None = None,
    skip_errors: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Runs a model over data on all cores, and writes a table with one row for each row of the data, in their order.

    Processes pinned to cores of their own compute shards of fixed rows. One that dies is replaced and its shard
    computed again; a run that was killed can be resumed. The file is the same whatever the number of instances and
    whatever died.

    Args:
        model: any model that `eightfold.export` takes, or a quantized one.
        data: any data that `eightfold.quantize` takes. What the workers cannot read by themselves, as the elements
            of a generator, is first written to files beside the output.
        output: a `.parquet` or an `.npz` file.
        signature: which of the model to call.
        outputs: names of the outputs to keep; all where left out.
        top: keep the so many highest classes and their scores in place of whole outputs.
        preprocess: what is done to the pixels of pictures: raw (the default), tf, torch, caffe or `module:function`.
        samples: use the first so many rows only.
        batch_size: rows in a batch; else that of the model's run-time settings.
        instances: processes; else as many as there is room for.
        mode: which run-time settings of the model to use; those for throughput where left out.
        runtime: run-time settings, in place of the model's.
        cluster: the address of a Ray cluster whose machines compute, `auto` for the one that this machine is in.
        skip_errors: leave rows empty that cannot be read, and say so in a column `error`.
        resume: go on with a run that did not finish.
        overwrite: whether an output that is there may be replaced; without `resume`, parts of it are removed too.
        progress: told the stage, the rows done and all rows.

    Returns:
        What was done: the file, its columns, the rows without an answer, and how long it took.

    Raises:
        EightfoldError: see `eightfold.errors`. Parts that are done are kept for `resume`.
    """
    target = Path(output).absolute()
    tell = progress or (lambda *_: None)
    check_output(target, overwrite=overwrite)
    began = time.perf_counter()
    with Journal(target) as journal:
        _prepare(journal, resume=resume, overwrite=overwrite)
        tell("start", 0, None)
        path = as_file(model, journal.folder)
        own = path if isinstance(model, str | PathLike) else None
        found = settled(own, runtime=runtime, mode=mode, instances=instances, batch_size=batch_size)
        call = call_of(str(path), signature, found.runtime)
        wish = Wish(call, found.runtime, data, preprocess, tuple(outputs), top, samples, skip_errors)
        done = _computed(wish, journal, cluster, instances, tell)
        computed = time.perf_counter()
        tell("write", 0, None)
        table = Table(done.job, journal.folder)
        assemble(table, target, overwrite=overwrite)
        journal.clear()
    return Predictions(
        output=target,
        rows=done.job.rows,
        columns={column.name: str(column) for column in table.columns},
        computed=done.rows,
        first=done.count.first,
        skipped=table.skipped,
        deaths=done.count.deaths,
        instances=done.instances,
        batch_size=done.job.batch_size,
        seconds=Seconds(done.count.since - began, computed - done.count.since, time.perf_counter() - computed),
        notes=(*found.notes, *done.notes),
    )


@dataclass(frozen=True, slots=True)
class _Computed:
    """A job all of whose parts are there, and the rows that this run has computed."""

    job: Job
    rows: int
    count: _Count
    instances: int
    notes: tuple[str, ...]


def _computed(
    wish: Wish, journal: Journal, cluster: str | None, instances: int | None, progress: Progress
) -> _Computed:
    """Computes the parts of a job that are not there yet, here or on a cluster."""
    nodes = None if cluster is None else OnRay(cluster, wish.runtime, instances)
    here = wish.runtime if nodes is None else replace(wish.runtime, instances=1)  # it tells what the model is like
    with nodes or nullcontext(), Workers(wish.call, here) as workers:
        plan = planned(wish, workers.describe(), journal)
        shards = journal.missing(plan.job)
        count = _Count(plan.job, shards, progress, lambda: (nodes or here).instances)
        if nodes is not None:
            workers.close()
        if shards:
            (nodes or workers).run(journal.job_file, journal.folder, shards, count)
    return _Computed(
        job=plan.job,
        rows=sum(shard.rows for shard in shards),
        count=count,
        instances=(nodes or here).instances,
        notes=plan.notes if nodes is None else (*plan.notes, *nodes.notes),
    )


def _prepare(journal: Journal, *, resume: bool, overwrite: bool) -> None:
    """Raises `OutputError` where a run that did not finish is neither resumed nor given up."""
    if resume and journal.job_file.exists():
        journal.tidy()
        return
    if journal.has_parts() and not overwrite:
        raise OutputError(
            f"{journal.folder} holds parts of a run that did not finish; go on with it (--resume), or start anew "
            "(--overwrite)"
        )
    journal.clear()


class _Count:
    """Tells how many rows are done; remembers when there were as many parts as instances, and the rows in them."""

    def __init__(self, job: Job, missing: Sequence[Shard], progress: Progress, instances: Callable[[], int]) -> None:
        self.deaths = self.first = self._parts = 0
        self.since = time.perf_counter()
        self._rows = job.rows
        self._done = job.rows - sum(shard.rows for shard in missing)
        self._progress, self._instances = progress, instances
        progress("predict", self._done, self._rows)

    def __call__(self, done: Done) -> None:
        if self._parts < self._instances():
            self._parts += 1
            self.first += done.shard.rows
            self.since = time.perf_counter()
        self.deaths = done.deaths
        self._done += done.shard.rows
        self._progress("predict", self._done, self._rows)
