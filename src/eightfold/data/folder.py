"""A folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from eightfold.data.batch import Batch
from eightfold.data.pictures import DEFAULT_SIDE, Decoder, decoder, reading
from eightfold.data.spec import InputSpec
from eightfold.errors import DataError

__all__ = ["FolderSource", "Listed", "folder", "listed"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class FolderSource:
    """Picture files, decoded when they are read."""

    repeatable = True

    def __init__(self, files: Sequence[Path], labels: Sequence[int] | None, decode: Decoder) -> None:
        self.files = files
        self.labels = labels
        self.decode = decode

    @property
    def size(self) -> int | None:
        return len(self.files)

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The pictures from `start` on; see `Source.read`."""
        for at in range(start, len(self.files)):
            picture = self.decode(self.files[at], str(self.files[at]))
            labels = None if self.labels is None else np.array([self.labels[at]])
            yield Batch({self.decode.spec.name: picture[None]}, labels)


def folder(path: Path, specs: Mapping[str, InputSpec], preprocess: str | None) -> tuple[FolderSource, tuple[str, ...]]:
    """The pictures of a folder, and notes on what was decided.

    The sub-folders are the classes, numbered in the order of their sorted names; without sub-folders there
    are no labels. Classes take turns, so that the first pictures are a fair sample of all of them.

    Raises:
        DataError: there are no pictures, or some inside and some outside of classes.
        MissingExtraError: Pillow is not installed.
    """
    decode = decoder(specs, preprocess)
    found = listed(path)
    decode, notes = _sized(decode, found.files)
    return FolderSource(found.files, found.labels, decode), (*notes, *_order_notes(found))


@dataclass(frozen=True, slots=True)
class Listed:
    """The pictures of a folder.

    Attributes:
        files: the pictures; those of different classes take turns.
        labels: the number of the class of each; `None` where there are no sub-folders.
        classes: the names of the sub-folders, those without pictures among them.
    """

    files: Sequence[Path]
    labels: Sequence[int] | None
    classes: tuple[str, ...]


def listed(path: Path) -> Listed:
    """The pictures of a folder, as `folder` takes them; none is opened.

    Raises:
        DataError: there are no pictures, or some inside and some outside of classes.
    """
    loose = _pictures(path.iterdir())
    classes = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    members = [_pictures(p.rglob("*")) for p in classes]
    if loose and any(members):
        raise DataError(f"{path} has pictures both directly and in sub-folders, so their classes are unclear")
    if not loose and not any(members):
        raise DataError(f"the folder {path} has no pictures ({', '.join(sorted(SUFFIXES))})")
    turns = zip_longest(*([(file, label) for file in files] for label, files in enumerate(members)))
    labelled = [pair for pair in chain.from_iterable(turns) if pair is not None]
    files = loose or [file for file, _ in labelled]
    labels = None if loose else [label for _, label in labelled]
    return Listed(files, labels, tuple(p.name for p in classes))


def _pictures(paths: Iterator[Path]) -> list[Path]:
    found = (p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(found)


def _sized(decode: Decoder, files: Sequence[Path]) -> tuple[Decoder, tuple[str, ...]]:
    """Where the input leaves the size free: the pictures' own if they share it, else 224."""
    if decode.height is not None and decode.width is not None:
        return decode, ()
    if decode.height is None and decode.width is None and _share_size(files):
        return decode, ("the model takes any picture size: the pictures keep their own",)
    height, width = decode.height or DEFAULT_SIDE, decode.width or DEFAULT_SIDE
    note = f"the model takes any picture size, and the pictures differ: made {width} x {height} pixels"
    return replace(decode, height=height, width=width), (note,)


def _share_size(files: Sequence[Path]) -> bool:
    first = _size(files[0])
    return all(_size(file) == first for file in files[1:])


def _size(file: Path) -> tuple[int, int]:
    with reading(file, str(file)) as opened:
        size: tuple[int, int] = opened.size
        return size


def _order_notes(found: Listed) -> tuple[str, ...]:
    names = list(found.classes)
    if found.labels is None or not all(name.isdigit() for name in names) or names == sorted(names, key=int):
        return ()
    return (f"class folders are numbered in the order of their names as text: {', '.join(names[:4])}, ...",)
