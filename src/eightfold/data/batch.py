"""Some examples, where they come from, and how they are cut anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Batch", "Source", "joined", "rebatched", "window"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some examples.

    Attributes:
        inputs: by input name; the first axis counts examples. A value of rank 0 belongs to all of them.
        labels: one per example, where the data has labels.
    """

    inputs: dict[str, Array]
    labels: Array | None = None

    @property
    def size(self) -> int:
        """How many examples."""
        return next((len(a) for a in self.inputs.values() if a.ndim), 1)

    def cut(self, start: int, stop: int | None = None) -> Batch:
        """The examples from `start` to before `stop`; views, not copies."""
        inputs = {name: a[start:stop] if a.ndim else a for name, a in self.inputs.items()}
        return Batch(inputs, None if self.labels is None else self.labels[start:stop])

    def joins(self, other: Batch) -> bool:
        """Whether the examples of both fit into one batch: of the same shapes, and with the same rank-0 values."""
        shapes = [{name: a.shape[1:] for name, a in batch.inputs.items()} for batch in (self, other)]
        if shapes[0] != shapes[1] or (self.labels is None) != (other.labels is None):
            return False
        return all(bool(a == other.inputs[name]) for name, a in self.inputs.items() if not a.ndim)


class Source(Protocol):
    """Where examples come from."""

    @property
    def size(self) -> int | None:
        """How many examples there are, where that is known."""

    @property
    def repeatable(self) -> bool:
        """Whether every reading gives the same examples in the same order."""

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on, in chunks of any size, best of `batch_size`."""


def rebatched(chunks: Iterable[Batch], size: int, *, exact: bool = False) -> Iterator[Batch]:
    """The same examples in batches of `size`; `exact` leaves out what does not fill one.

    Examples of another shape than those before them begin a new batch.
    """
    parts: list[Batch] = []
    for chunk in chunks:
        if parts and not parts[-1].joins(chunk):
            if not exact:
                yield joined(parts)
            parts = []
        parts.append(chunk)
        while sum(part.size for part in parts) >= size:
            whole = joined(parts)
            yield whole.cut(0, size)
            parts = [whole.cut(size)] if whole.size > size else []
    if parts and not exact:
        yield joined(parts)


def joined(parts: list[Batch]) -> Batch:
    """All examples of `parts` in one batch."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    inputs = {
        name: np.concatenate([part.inputs[name] for part in parts]) if array.ndim else array
        for name, array in first.inputs.items()
    }
    labels = None if first.labels is None else np.concatenate([_labels(part) for part in parts])
    return Batch(inputs, labels)


def _labels(batch: Batch) -> Array:
    if batch.labels is None:
        raise DataError("some batches of the data have labels and others have none")
    return batch.labels


def window(chunks: Iterator[Batch], span: int | None) -> Iterator[Batch]:
    """The first `span` examples; reads no chunk more than these need."""
    left = span
    while left is None or left > 0:
        chunk = next(chunks, None)
        if chunk is None:
            return
        part = chunk if left is None or chunk.size <= left else chunk.cut(0, left)
        left = None if left is None else left - part.size
        if part.size:
            yield part
