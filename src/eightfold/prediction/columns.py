"""What the columns of an output are, found from all its parts before any is put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.prediction.array_file import ArrayFile
from eightfold.prediction.job import Job, Shard
from eightfold.prediction.parts import Skipped, read_part

__all__ = ["ERROR", "Column", "Table"]

ERROR = "error"
"""The column that says why a row was skipped, and is empty for all others."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the output.

    Attributes:
        name: of the column.
        dtype: of its values; text is `U`, bytes that are no text `S`, each as long as the longest value.
        shape: of one row.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def is_text(self) -> bool:
        return self.dtype.kind in "US"

    def __str__(self) -> str:
        return f"{'text' if self.is_text else self.dtype}{list(self.shape) if self.shape else ''}"


class Table:
    """The parts of a job as one table, read shard by shard.

    Attributes:
        columns: what the parts have in common.
        skipped: the rows without an answer.

    Raises:
        DataError: the parts do not fit together, or hold no answer at all.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self._folder = folder
        found: dict[str, Column] = {}
        every: list[Skipped] = []
        for shard in job.shards:
            part, skipped = read_part(folder, shard)
            every += skipped
            for name in part:
                found[name] = _widened(found.get(name), _column(name, part), shard)
            if job.skip_errors:
                found[ERROR] = _widened(found.get(ERROR), _text_column(ERROR, _reasons(skipped)), shard)
        self.skipped = tuple(every)
        if len(every) == job.rows:
            raise DataError(f"none of the {job.rows} rows could be read; {every[0].why}")
        self.columns = tuple(found.values())

    @property
    def rows(self) -> int:
        return self.job.rows

    def blocks(self, columns: Sequence[Column] | None = None) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
        """Shard by shard: the columns by name, and for each of them which rows have no value: NaN, 0 or empty text.

        Rows that were skipped have none but for what the data says of them: the name of the file, and mostly the label.

        Args:
            columns: those that are read; all where left out.
        """
        wanted = self.columns if columns is None else columns
        for shard in self.job.shards:
            part, skipped = read_part(self._folder, shard)
            empty = _marked(shard, skipped)
            unlabelled = _marked(shard, [one for one in skipped if not one.labelled])
            known = {self.job.label: unlabelled, self.job.file: np.zeros_like(empty)}
            found: dict[str, Array] = {}
            without: dict[str, Array] = {}
            for column in wanted:
                if self._says_why(column):
                    values = np.full(shard.rows, b"", object)
                    values[empty] = _reasons(skipped)
                    without[column.name] = ~empty
                else:
                    values = part[column.name] if column.name in part else _nothing(column, shard)
                    without[column.name] = known.get(column.name, empty)
                found[column.name] = _values(values, column, without[column.name])
            yield found, without

    def _says_why(self, column: Column) -> bool:
        """Whether a column says why rows were skipped: a model may have an output of that name."""
        return self.job.skip_errors and column.name == ERROR


def _marked(shard: Shard, skipped: Sequence[Skipped]) -> Array:
    """Which rows of a shard are among these."""
    return np.isin(np.arange(shard.start, shard.stop), [one.row for one in skipped])


def _reasons(skipped: Sequence[Skipped]) -> Array:
    return np.array([one.why.encode() for one in skipped], object)


def _column(name: str, part: ArrayFile) -> Column:
    dtype, shape = part.form(name)
    return _text_column(name, part[name]) if dtype.hasobject else Column(name, dtype, shape[1:])


def _text_column(name: str, texts: Array) -> Column:
    try:
        dtype = f"U{max((len(text.decode()) for text in texts.ravel()), default=1) or 1}"
    except UnicodeDecodeError:
        dtype = f"S{max(map(len, texts.ravel()))}"
    return Column(name, np.dtype(dtype), texts.shape[1:])


def _widened(before: Column | None, column: Column, shard: Shard) -> Column:
    """The column that holds both.

    Raises:
        DataError: they differ in more than the length of texts.
    """
    if before is None or before == column:
        return column
    if before.shape != column.shape or before.is_text != column.is_text:
        raise DataError(
            f"{column.name!r} is {column} in {shard}, and {before} before them, so it is no column of a table; "
            "choose other outputs with --outputs"
        )
    if not column.is_text:
        raise DataError(f"{column.name!r} is {column.dtype} in {shard}, and {before.dtype} before them")
    kind = "S" if "S" in (before.dtype.kind, column.dtype.kind) else "U"
    width = max(_bytes(before, kind), _bytes(column, kind))
    return Column(column.name, np.dtype(f"{kind}{width}"), column.shape)


def _bytes(column: Column, kind: str) -> int:
    """How wide the column is as text of a kind; a character takes up to 4 bytes."""
    characters = column.dtype.itemsize // (4 if column.dtype.kind == "U" else 1)
    return characters * 4 if kind == "S" and column.dtype.kind == "U" else characters


def _nothing(column: Column, shard: Shard) -> Array:
    """For a shard none of whose rows could be read."""
    shape = (shard.rows, *column.shape)
    return np.full(shape, b"", object) if column.is_text else np.zeros(shape, column.dtype)


def _values(values: Array, column: Column, empty: Array) -> Array:
    if column.is_text:
        texts = [value if column.dtype.kind == "S" else value.decode() for value in values.ravel()]
        return np.array(texts, column.dtype).reshape(values.shape)
    if column.dtype.kind in "fc":
        values[empty] = np.nan
    return values
