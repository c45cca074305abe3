"""The batches of a shard, read, checked and laid out as TensorFlow takes them without a copy."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eightfold.data.batch import Batch, window
from eightfold.data.checks import check, checked
from eightfold.data.spec import InputSpec, fixed_batch
from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.prediction.job import Job, Shard
from eightfold.prediction.kept import is_column
from eightfold.prediction.listing import Rows
from eightfold.prediction.parts import Skipped

__all__ = ["Buffers", "Feed", "Refused", "feeds"]

SHAPES = 16
"""Of how many shapes arrays are kept; pictures that keep their own sizes have more."""

Read = tuple[int, Batch]
"""Some rows, and the number of the first."""


class BadRowError(DataError):
    """A row that ends the job; the message names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """What the model is called with once.

    Attributes:
        inputs: by name. A model of a fixed batch size gets the last row again where rows are lacking.
        rows: their numbers, fewer than the batch where some could not be read.
        labels: one for each row, where the data has labels that can be a column.
    """

    inputs: Mapping[str, Array]
    rows: tuple[int, ...]
    labels: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """A row that the model cannot be given, and its label where that is known."""

    skipped: Skipped
    label: Array | None


class Buffers:
    """Arrays for batches, used again and again: new memory of that size costs more than what is written to it.

    Args:
        new: makes an array of a shape and element type.
    """

    def __init__(self, new: Callable[[tuple[int, ...], np.dtype[Any]], Array] = np.empty) -> None:
        self._new = new
        self._free: dict[tuple[tuple[int, ...], str], deque[Array]] = defaultdict(deque)

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array whose values are left over from before."""
        free = self._free[shape, dtype.str]
        return free.pop() if free else self._new(shape, dtype)

    def give(self, arrays: Iterable[Array]) -> None:
        """Takes back arrays that nobody reads any more; not those of ever other shapes."""
        if len(self._free) > SHAPES:
            self._free.clear()
        for array in arrays:
            if array.ndim:
                self._free[array.shape, array.dtype.str].append(array)


def feeds(
    job: Job, specs: Mapping[str, InputSpec], rows: Rows, shard: Shard, buffers: Buffers
) -> Iterator[Feed | Refused]:
    """All rows of a shard, in order: in batches, or each by itself with the reason why it is skipped.

    A batch ends at a multiple of the batch size, counted from the first row of the data, and where the shape of the
    examples changes. Whoever has used a feed gives its arrays back to `buffers`.

    Raises:
        DataError: a row cannot be read or does not fit the model, and the job does not skip such rows.
    """
    whole = fixed_batch(specs.values())
    parts: list[Read] = []
    for found in _read(job, specs, rows, shard):
        if isinstance(found, Refused):
            yield found
            continue
        at, chunk = found
        while chunk.size:
            last = at - at % job.batch_size + job.batch_size
            if parts and not (parts[0][0] // job.batch_size == at // job.batch_size and parts[-1][1].joins(chunk)):
                yield _feed(parts, specs, whole, buffers)
                parts = []
            piece = chunk.cut(0, last - at)
            parts.append((at, piece))
            at, chunk = at + piece.size, chunk.cut(piece.size)
    if parts:
        yield _feed(parts, specs, whole, buffers)


def _read(job: Job, specs: Mapping[str, InputSpec], rows: Rows, shard: Shard) -> Iterator[Read | Refused]:
    """The rows of a shard, checked, in pieces of any size."""
    at = shard.start
    while at < shard.stop:
        try:
            for chunk in window(rows.source.read(at, job.batch_size), shard.stop - at):
                yield from _checked(job, specs, rows, (at, chunk))
                at += chunk.size
        except BadRowError:
            raise
        except DataError as error:  # the reading ended with this row; it goes on with the next
            yield _refused(job, rows, at, error, rows.label(at))
            at += 1
            continue
        if at < shard.stop:
            raise DataError(f"the data ends before row {at}; it had {job.rows} rows when this run began")


def _checked(job: Job, specs: Mapping[str, InputSpec], rows: Rows, read: Read) -> Iterator[Read | Refused]:
    """The rows as the model takes them; those that do not fit are told apart from the others."""
    at, chunk = read
    try:
        inputs = {name: _fitting(chunk.inputs[name], spec, at // job.batch_size) for name, spec in specs.items()}
        yield at, replace(chunk, inputs=inputs)
    except DataError as error:
        if chunk.size == 1:
            yield _refused(job, rows, at, error, chunk.labels)
            return
        for index in range(chunk.size):
            yield from _checked(job, specs, rows, (at + index, chunk.cut(index, index + 1)))


def _fitting(array: Array, spec: InputSpec, batch: int) -> Array:
    """The array, checked; whole numbers are cast later, while they are put in their place in the batch."""
    if array.dtype.kind not in "iub" or spec.dtype == "string":
        return checked(array, spec, batch)
    check(array, spec, batch)
    return array


def _refused(job: Job, rows: Rows, row: int, error: DataError, label: Array | None) -> Refused:
    if not job.skip_errors:
        raise BadRowError(f"{rows.name(row)}: {error}; --skip-errors leaves such rows empty") from error
    label = _as_column(label)
    return Refused(Skipped(row, str(error), labelled=label is not None), label)


def _feed(parts: list[Read], specs: Mapping[str, InputSpec], whole: int | None, buffers: Buffers) -> Feed:
    rows = tuple(at + index for at, chunk in parts for index in range(chunk.size))
    inputs = {
        name: _stacked([chunk.inputs[name] for _, chunk in parts], whole or len(rows), spec.numpy, buffers)
        for name, spec in specs.items()
    }
    labels = [chunk.labels for _, chunk in parts]
    known = [one for one in labels if one is not None]
    return Feed(inputs, rows, _as_column(np.concatenate(known)) if len(known) == len(labels) else None)


def _as_column(labels: Array | None) -> Array | None:
    return labels if labels is not None and is_column(labels) else None


def _stacked(arrays: list[Array], size: int, dtype: np.dtype[Any], buffers: Buffers) -> Array:
    """One array of `size` rows; the last row is repeated where there are fewer."""
    first = arrays[0]
    if not first.ndim:
        return first.astype(dtype)
    batch = buffers.take((size, *first.shape[1:]), dtype)
    at = 0
    for array in arrays:
        batch[at : at + len(array)] = array
        at += len(array)
    batch[at:] = batch[at - 1]
    return batch
