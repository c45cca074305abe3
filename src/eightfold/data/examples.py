"""Labelled pictures of any form, one by one, before they are decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.arrays import ArraySource
from eightfold.data.batch import Batch
from eightfold.data.folder import listed
from eightfold.data.imported import imported, names_function
from eightfold.data.load import load
from eightfold.data.record_index import is_packed, record_index, records_from
from eightfold.data.spec import InputSpec
from eightfold.data.tfrecord import TFRecordSource, is_tfrecord
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Example", "Examples", "examples"]

INPUT = "image"
"""By which arrays are bound to the one input."""
CHUNK = 256
"""Pictures of an array that are read at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture.

    Attributes:
        name: for people.
        data: a file, the bytes of one, or pixels [height, width, channels].
        label: a number, or the name of a class; `None` where it has none.
    """

    name: str
    data: Path | bytes | Array
    label: Any


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Pictures, all of one form.

    Attributes:
        count: how many.
        read: gives them in order, whenever it is called.
        identity: gives what tells them apart from all others, or `None` where they can be told only by reading them.
        same: the size that all of them have, (height, width), where they are arrays of one size.
        ready: the pixels, uint8 [count, height, width, channels], where they are in one array.
    """

    count: int
    read: Callable[[], Iterator[Example]]
    identity: Callable[[], Iterable[object]] | None = None
    same: tuple[int, int] | None = None
    ready: Array | None = None


def examples(source: Any, channels: int) -> Examples:
    """The labelled pictures of whatever `load` reads.

    Raises:
        DataError: there is no such data, it has no labels, or a class folder is empty.
        MissingExtraError: there are TFRecord files with pictures, and Pillow is not installed.
    """
    source = _made(source)
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if path.is_dir() and not any(is_tfrecord(p) for p in path.iterdir()):
            return _files(path)
    free = InputSpec(INPUT, "float32", (None, None, None, channels))
    opened = load(source, inputs={INPUT: free}).source
    if isinstance(opened, TFRecordSource):
        return _records(opened)
    if isinstance(opened, ArraySource):
        return _arrays(opened)
    return _stream(opened.read(0, CHUNK))


def _made(source: Any) -> Any:
    """What a function of the user gives, where that is a path: a folder is read here, not by `load`."""
    if isinstance(source, str) and names_function(source) and not Path(source).exists():
        source = imported(source)
    if callable(source) and not isinstance(source, Iterable):
        made = source()
        return source if isinstance(made, Iterator) else _made(made)
    return source


def _files(folder: Path) -> Examples:
    found = listed(folder)
    if found.labels is None:
        raise DataError(f"the pictures in {folder} have no labels; expected a sub-folder for each class")
    labels, files = found.labels, found.files
    names = [file.relative_to(folder).as_posix() for file in files]
    if empty := [name for number, name in enumerate(found.classes) if number not in set(labels)]:
        raise DataError(
            f"{folder} has sub-folders without pictures: {', '.join(empty)}; expected pictures of each class, so "
            "remove these, or give the class its pictures"
        )

    def read() -> Iterator[Example]:
        for name, file, label in zip(names, files, labels, strict=True):
            yield Example(name, file, found.classes[label])

    return Examples(len(files), read, lambda: (folder.resolve(), names, _stamps(files)))


def _records(source: TFRecordSource) -> Examples:
    if source.objects or source.decode is None:
        lacking = "class label" if source.objects else "encoded picture (image/encoded)"
        raise DataError(f"the records of {source.files[0]} have no {lacking}; expected both picture and label")
    packed = any(map(is_packed, source.files))
    count = sum(1 for _ in records_from(source.files)) if packed else record_index(source.files, 1 << 20).rows

    def read() -> Iterator[Example]:
        for name, picture, label in source.encoded():
            if label is not None and label.ndim:
                raise DataError(f"the label of {name} has {label.size} values; expected the number of one class")
            yield Example(name, picture, None if label is None else _plain(label.tolist()))

    return Examples(count, read, lambda: ([str(file.resolve()) for file in source.files], _stamps(source.files)))


def _arrays(source: ArraySource) -> Examples:
    pixels, labels = source.arrays.inputs[INPUT], _labels(source.arrays)
    ready = pixels if pixels.dtype == np.uint8 else None
    return Examples(
        len(pixels),
        lambda: _one_by_one(source.read(0, CHUNK)),
        lambda: (pixels.shape, pixels.dtype, _content(pixels), _content(labels)),
        (pixels.shape[1], pixels.shape[2]),
        ready,
    )


def _stream(chunks: Iterator[Batch]) -> Examples:
    """All that a stream has to give, kept as it is: how much there is shows only at its end."""
    kept = list(_one_by_one(chunks))
    sizes = {each.data.shape[:2] for each in kept if isinstance(each.data, np.ndarray)}
    return Examples(len(kept), lambda: iter(kept), same=sizes.pop() if len(sizes) == 1 else None)


def _one_by_one(chunks: Iterator[Batch]) -> Iterator[Example]:
    row = 0
    for chunk in chunks:
        for pixels, label in zip(chunk.inputs[INPUT], _labels(chunk).tolist(), strict=True):
            yield Example(f"example {row}", pixels, _plain(label))
            row += 1


def _labels(batch: Batch) -> Array:
    """One for each picture."""
    if batch.labels is None:
        raise DataError("the data has no labels; expected pictures x and their classes y")
    labels = batch.labels
    if labels.ndim == 2 and labels.shape[1] == 1:  # as keras.datasets.cifar10 has them
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"the labels are {labels.dtype}{list(labels.shape)}; expected the number of one class for each picture"
        )
    return labels


def _plain(label: Any) -> Any:
    """Bytes are names, as TFRecord files and NumPy have them."""
    return label.decode() if isinstance(label, bytes) else label


def _stamps(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Size in bytes and time of the last change in nanoseconds: other content nearly always differs in one of them."""
    return [(about.st_size, about.st_mtime_ns) for about in (file.stat() for file in files)]


def _content(array: Array) -> str:
    found = hashlib.blake2b(digest_size=16)
    for at in range(0, len(array), CHUNK):
        part = np.ascontiguousarray(array[at : at + CHUNK])
        found.update(repr(part.tolist()).encode() if part.dtype.hasobject else part.tobytes())
    return found.hexdigest()
