"""Computes shards: the same bytes for a shard, whoever computes it, whenever, and after whatever other shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from eightfold.errors import DataError, ModelError
from eightfold.graph.ir import Array
from eightfold.prediction.ahead import ahead
from eightfold.prediction.feeds import Buffers, Feed, Refused, feeds
from eightfold.prediction.job import Job, Shard
from eightfold.prediction.listing import Rows, opened
from eightfold.prediction.parts import Part
from eightfold.prediction.predictor import Predictor
from eightfold.prediction.top import top

__all__ = ["Opened", "open_model", "run_shards"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A job whose model and data are open in this process."""

    job: Job
    predictor: Predictor
    rows: Rows
    buffers: Buffers


def open_model(job: Job, predictor: Predictor | None = None) -> Opened:
    """Loads the model of a job, unless it is loaded already, and opens the data.

    Raises:
        ModelError: there is no such model or signature.
        DataError: the data is not there any more.
    """
    predictor = predictor or Predictor(job.call)
    return Opened(job, predictor, opened(job, predictor.inputs), Buffers(predictor.room))


def run_shards(model: Opened, shards: Iterable[Shard]) -> Iterator[tuple[Shard, Part]]:
    """The answers for several shards, one after the other.

    A thread reads and decodes ahead, also over the end of a shard, while the model runs; `shards` is iterated by it.

    Raises:
        DataError: a row cannot be read, and the job does not skip such rows.
        ModelError: an output does not have one value for each row, or is not as `Job.top` needs it.
    """
    answers: _Answers | None = None
    for found in ahead(_tagged(model, shards)):
        if isinstance(found, Shard):
            answers = _Answers(model.job, found)
            continue
        assert answers is not None
        if isinstance(found, Feed):
            answers.add(found, _called(model, found))  # copies: an output may lie in the memory of an input
            model.buffers.give(found.inputs.values())
        elif isinstance(found, Refused):
            answers.refused.append(found)
        else:
            yield answers.shard, answers.part(model.rows)


@dataclass(frozen=True, slots=True)
class _End:
    """The last row of a shard has been read."""


def _tagged(model: Opened, shards: Iterable[Shard]) -> Iterator[Shard | Feed | Refused | _End]:
    for shard in shards:
        yield shard
        yield from feeds(model.job, model.predictor.inputs, model.rows, shard, model.buffers)
        yield _End()


def _called(model: Opened, feed: Feed) -> dict[str, Array]:
    """The columns of a batch: the outputs that the job asks for, or their highest classes."""
    outputs = model.predictor(feed.inputs)
    wanted = {name: outputs[name] for name in model.job.outputs or outputs}
    given = next((len(array) for array in feed.inputs.values() if array.ndim), 1)
    for name, array in wanted.items():
        if not array.ndim or len(array) != given:
            raise ModelError(
                f"the output {name!r} has the shape {list(array.shape)} for {given} rows, so it cannot be split into "
                "rows; choose other outputs with --outputs"
            )
    wanted = {name: _as_numpy_has(array[: len(feed.rows)]) for name, array in wanted.items()}
    return wanted if model.job.top is None else top(wanted, model.job.top)


def _as_numpy_has(array: Array) -> Array:
    """bfloat16 and its like as float32: files and their readers do not know them."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


@dataclass(slots=True)
class _Answers:
    """What is known of a shard so far."""

    job: Job
    shard: Shard
    columns: dict[str, Array] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    def add(self, feed: Feed, outputs: dict[str, Array]) -> None:
        """Takes in the answers for a batch, each in the place of its row."""
        if feed.labels is not None:
            outputs = {**outputs, self.job.label: feed.labels}
        for name, values in outputs.items():
            self._put(name, feed.rows, values)

    def part(self, rows: Rows) -> Part:
        """The answers, whole; what the data says comes behind what the model says, also of rows without an answer."""
        for one in self.refused:
            if one.label is not None:
                self._put(self.job.label, (one.skipped.row,), one.label)
        if rows.files is not None:
            names = np.array(rows.files[self.shard.start : self.shard.stop], object)
            self.columns[self.job.file] = names
        return Part(self.columns, tuple(one.skipped for one in self.refused))

    def _put(self, name: str, rows: tuple[int, ...], values: Array) -> None:
        self._column(name, values, rows)[np.array(rows) - self.shard.start] = values

    def _column(self, name: str, values: Array, rows: tuple[int, ...]) -> Array:
        if name not in self.columns:
            empty = b"" if values.dtype == object else 0
            self.columns[name] = np.full((self.shard.rows, *values.shape[1:]), empty, values.dtype)
        column = self.columns[name]
        if column.shape[1:] != values.shape[1:]:
            raise DataError(
                f"{name!r} has the shape {list(values.shape[1:])} for row {rows[0]}, and {list(column.shape[1:])} for "
                "rows before it, so it is no column of a table; choose other outputs with --outputs"
            )
        return column
