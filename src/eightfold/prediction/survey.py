"""Finds out which rows there are, before any is computed, and how workers can read them by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

from eightfold.data import Batch, Dataset
from eightfold.data.arrays import ArraySource
from eightfold.data.folder import FolderSource
from eightfold.data.record_index import is_packed, record_index
from eightfold.data.tfrecord import TFRecordSource
from eightfold.graph.ir import Array

__all__ = ["Survey", "survey"]

EVERY = 64
"""Records between two places of an index: so many are read in vain at most, where a shard begins."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of the data before it is cut into shards.

    Attributes:
        digest: of what can be known of its content: names, sizes and times of files, or the arrays themselves.
        rows: how many there are; None where only reading them all can tell.
        listing: what workers read the rows by, see `prediction.listing`; None where they cannot read them, as those
            of a generator, and the rows must be kept for them.
    """

    digest: str
    rows: int | None
    listing: Mapping[str, Any] | None


def survey(dataset: Dataset, data: Any) -> Survey:
    """Lists the rows; goes over names and lengths only.

    Args:
        dataset: the data, opened.
        data: what the user named: a path, `module:function`, or an object.

    Raises:
        DataError: it cannot be read.
    """
    source = dataset.source
    if isinstance(source, FolderSource):
        return _pictures(source)
    if isinstance(source, TFRecordSource) and not any(is_packed(file) for file in source.files):
        return _records(source)
    if isinstance(source, ArraySource):
        named = isinstance(data, str | Path) and Path(data).exists()
        return _mapped(source, Path(data)) if named and source.mapped else _arrays(source)
    return Survey(str(data) if isinstance(data, str | Path) else type(data).__qualname__, source.size, None)


def _pictures(source: FolderSource) -> Survey:
    files = [file.absolute() for file in source.files]
    folder = Path(commonpath([file.parent for file in files]))
    listing = {
        "kind": "pictures",
        "folder": str(folder),
        "files": [str(file.relative_to(folder)) for file in files],
        "labels": source.labels,
        "height": source.decode.height,
        "width": source.decode.width,
    }
    return Survey(_files_digest(files), len(files), listing)


def _records(source: TFRecordSource) -> Survey:
    files = [file.absolute() for file in source.files]
    decode = source.decode
    index = record_index(files, EVERY)
    listing = {
        "kind": "records",
        "files": [str(file) for file in files],
        "rows": index.rows,
        "every": index.every,
        "places": index.places,
        "picture": decode and {"height": decode.height, "width": decode.width, "crop": decode.crop},
        "objects": source.objects,
    }
    return Survey(_files_digest(files), index.rows, listing)


def _mapped(source: ArraySource, file: Path) -> Survey:
    file = file.expanduser().absolute()
    return Survey(_files_digest([file]), source.size, {"kind": "arrays", "file": str(file)})


def _arrays(source: ArraySource) -> Survey:
    return Survey(_arrays_digest(source.arrays), source.size, None)


def _files_digest(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        state = file.stat()
        digest.update(f"{file}\n{state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _arrays_digest(arrays: Batch) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, array in arrays.inputs.items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        for row in array if array.ndim else array[None]:
            digest.update(_bytes(row))
    return digest.hexdigest()


def _bytes(row: Array) -> bytes:
    return repr(row.tolist()).encode() if row.dtype == object else row.tobytes()
