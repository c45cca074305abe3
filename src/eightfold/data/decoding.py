"""Decodes many pictures into one array, in several threads; what cannot be read is left out and named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from eightfold.data.examples import Example, Examples
from eightfold.data.pictures import pillow
from eightfold.data.square import Square
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Decoded", "Misnamed", "Progress", "Skipped", "decode"]

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with what is being done, the pictures done and all pictures."""

AHEAD = 2
"""Pictures for each thread that are begun or wait for it: no more of them are in memory."""
VARIANTS = {"MPO": "JPEG"}
"""Kinds that by their own rules have the other's suffix: cameras append a second picture to a JPEG file."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A picture that is left out.

    Attributes:
        name: of the file or record.
        reason: why.
        label: its class, as the data has it.
    """

    name: str
    reason: str
    label: Any = None


@dataclass(frozen=True, slots=True)
class Misnamed:
    """A picture file whose content is not what its name says; it is used like any other.

    Attributes:
        name: of the file.
        kind: what it is: `PNG`.
    """

    name: str
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pictures in an array, in the order of the examples.

    Attributes:
        labels, names: of each row.
        skipped, misnamed: what is to be told.
    """

    labels: tuple[Any, ...]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    misnamed: tuple[Misnamed, ...]


def decode(examples: Examples, square: Square, pixels: Array, threads: int, progress: Progress) -> Decoded:
    """Writes the square of each picture into `pixels`, uint8 [count, stored, stored, channels].

    Pictures without label, and those that cannot be read, are skipped; the rows of the others close up, so that the
    last rows of `pixels` are left over. At most `AHEAD` pictures for each thread are held at a time.

    Raises:
        DataError: the examples themselves end with an error.
    """
    kept: list[Example] = []
    skipped: list[Skipped] = []
    misnamed: list[Misnamed] = []
    flying: deque[tuple[int, Example, Future[str | None]]] = deque()

    def land() -> None:
        row, example, future = flying.popleft()
        error = future.exception()
        if isinstance(error, DataError):
            skipped.append(Skipped(example.name, _reason(error, example.data), example.label))
        else:
            kind = future.result()
            if _is_misnamed(example.data, kind):
                misnamed.append(Misnamed(example.name, str(kind)))
            if row != len(kept):
                pixels[len(kept)] = pixels[row]
            kept.append(Example(example.name, b"", example.label))  # without its data
        progress("decode", len(kept) + len(skipped), examples.count)

    pillow().init()  # all kinds of files are known before the threads ask for them
    with ThreadPoolExecutor(threads, "decode") as pool:
        for row, example in enumerate(examples.read()):
            if len(flying) >= AHEAD * threads:
                land()
            flying.append((row, example, pool.submit(_written, square, example, pixels[row])))
        while flying:
            land()
    labels, names = tuple(example.label for example in kept), tuple(example.name for example in kept)
    return Decoded(labels, names, tuple(skipped), tuple(misnamed))


def _written(square: Square, example: Example, target: Array) -> str | None:
    if example.label is None:
        raise DataError("it has no label")
    return square.write(example.data, example.name, target)


def _reason(error: DataError, data: Path | bytes | Array) -> str:
    """Without the name of the picture, which goes with it."""
    cause = error.__cause__
    if isinstance(cause, pillow().UnidentifiedImageError):  # its text is the name of the file once more
        empty = data.stat().st_size == 0 if isinstance(data, Path) else len(data) == 0
        return "it is empty" if empty else "it is no picture of a known kind"
    return str(error if cause is None else cause)


def _is_misnamed(data: object, kind: str | None) -> bool:
    if not isinstance(data, Path) or kind is None:
        return False
    named = pillow().registered_extensions().get(data.suffix.lower())
    return bool(named != VARIANTS.get(kind, kind))
