"""The answers of one shard, in memory and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from eightfold.graph.ir import Array
from eightfold.prediction.array_file import ArrayFile, write_arrays
from eightfold.prediction.job import Shard

__all__ = ["PREFIX", "Part", "Skipped", "has_part", "read_part", "write_part"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that has no answer, and why; and whether its label is known all the same."""

    row: int
    why: str
    labelled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The answers for the rows of a shard, in their order.

    Attributes:
        columns: by name; the first axis counts rows. What is not known of skipped rows is 0 or empty text.
        skipped: the rows that could not be read.
    """

    columns: Mapping[str, Array]
    skipped: tuple[Skipped, ...] = ()


PREFIX = "part-"
"""What the names of their files begin with."""


def has_part(folder: Path, shard: Shard) -> bool:
    """Whether the answers of a shard are there; then they are whole."""
    return _path(folder, shard).is_file()


def write_part(folder: Path, shard: Shard, part: Part) -> None:
    """Keeps the answers of a shard. A part that is there already is replaced by the same bytes.

    Raises:
        OutputError: it cannot be written.
    """
    write_arrays(_path(folder, shard), part.columns, [asdict(one) for one in part.skipped])


def read_part(folder: Path, shard: Shard) -> tuple[ArrayFile, tuple[Skipped, ...]]:
    """The columns that `write_part` has kept, and the rows that were skipped.

    Raises:
        DataError: they are missing or damaged.
    """
    file = ArrayFile(_path(folder, shard))
    return file, tuple(Skipped(**one) for one in file.about)


def _path(folder: Path, shard: Shard) -> Path:
    return folder / f"{PREFIX}{shard.number:06}"
