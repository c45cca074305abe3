"""Rows that can be read only once, or only here, kept in files that any worker can read from any row on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from eightfold.data.batch import Batch, rebatched
from eightfold.graph.ir import Array
from eightfold.prediction.array_file import ArrayFile, write_arrays

__all__ = ["KeptSource", "is_column", "keep"]

_LABELS = "labels"


def is_column(labels: Array) -> bool:
    """Whether labels can be written down: numbers or texts, and not lists of objects."""
    return labels.dtype != object or all(isinstance(label, str | bytes) for label in labels.ravel())


def keep(folder: Path, batches: Iterable[Batch], size: int) -> int:
    """Keeps all rows, `size` of them in a file; returns how many there are.

    Raises:
        OutputError: they cannot be written.
    """
    rows = 0
    for batch in rebatched(batches, size):
        labels = {_LABELS: batch.labels} if batch.labels is not None and is_column(batch.labels) else {}
        inputs = {f"input.{name}": array for name, array in batch.inputs.items()}
        write_arrays(folder / f"rows-{rows:012}", {**inputs, **labels})
        rows += batch.size
    return rows


class KeptSource:
    """The rows that `keep` has kept."""

    repeatable = True

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("rows-*"))
        self._starts = [int(file.name.removeprefix("rows-")) for file in self._files]

    @property
    def size(self) -> int | None:
        return self._starts[-1] + _batch(self._files[-1]).size if self._files else 0

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The rows from `start` on; see `Source.read`."""
        for number in range(max(bisect_right(self._starts, start) - 1, 0), len(self._files)):
            batch = _batch(self._files[number])
            for at in range(max(start - self._starts[number], 0), batch.size, batch_size):
                yield batch.cut(at, at + batch_size)


def _batch(file: Path) -> Batch:
    arrays = dict(ArrayFile(file))
    labels = arrays.pop(_LABELS, None)
    return Batch({name.removeprefix("input."): array for name, array in arrays.items()}, labels)
