"""Which rows there are, written down before the first is computed, so that all workers mean the same by row 17.

{"kind": "pictures", "folder": ..., "files": [...], "labels": [...], "height": 224, "width": 224}
{"kind": "records", "files": [...], "rows": n, "every": rows, "places": [[file, byte], ...], ...}
{"kind": "arrays", "file": ...}            an .npy or .npz file, mapped
{"kind": "kept", "folder": ...}            rows that only the first process could read, kept in files
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data import Source, load
from eightfold.data.folder import FolderSource
from eightfold.data.pictures import Decoder, decoder
from eightfold.data.record_index import RecordIndex
from eightfold.data.spec import InputSpec
from eightfold.data.tfrecord import TFRecordSource
from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.prediction.job import Job
from eightfold.prediction.kept import KeptSource

__all__ = ["Rows", "opened"]

Specs = Mapping[str, InputSpec]


class Rows:
    """The rows of a job as a worker reads them.

    Attributes:
        source: reads them from any row on.
        files: of pictures, one for each row, from the folder on; None for other data.
        labels: of pictures in class folders, likewise: known without reading them.
    """

    def __init__(self, source: Source, files: list[str] | None = None, labels: list[int] | None = None) -> None:
        self.source = source
        self.files = files
        self.labels = labels

    def name(self, row: int) -> str:
        """What messages call a row."""
        return f"row {row}" if self.files is None else f"row {row} ({self.files[row]})"

    def label(self, row: int) -> Array | None:
        """The label of a row that cannot be read, where it is known."""
        return None if self.labels is None else np.array([self.labels[row]])


def opened(job: Job, specs: Specs) -> Rows:
    """The rows of a job, for a model with these inputs.

    Raises:
        DataError: the listing, or what it lists, is not there any more.
    """
    try:
        listing: dict[str, Any] = json.loads(Path(job.listing).read_text(encoding="utf-8"))
        return _KINDS[listing.pop("kind")](job, specs, **listing)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the listing {job.listing} cannot be read: {type(error).__name__}: {error}") from error


def _pictures(
    job: Job,
    specs: Specs,
    folder: str,
    files: list[str],
    labels: list[int] | None,
    height: int | None,
    width: int | None,
) -> Rows:
    decode = replace(decoder(specs, job.preprocess), height=height, width=width)
    return Rows(FolderSource([Path(folder, file) for file in files], labels, decode), files, labels)


def _records(
    job: Job,
    specs: Specs,
    files: list[str],
    rows: int,
    every: int,
    places: list[tuple[int, int]],
    picture: Mapping[str, Any] | None,
    objects: bool,
) -> Rows:
    index = RecordIndex(rows, every, tuple((number, offset) for number, offset in places))
    decode: Decoder | None = None if picture is None else replace(decoder(specs, job.preprocess), **picture)
    return Rows(TFRecordSource([Path(file) for file in files], specs, decode, objects=objects, index=index))


def _arrays(job: Job, specs: Specs, file: str) -> Rows:
    return Rows(load(file, inputs=specs, batch_size=job.batch_size).source)


def _kept(job: Job, specs: Specs, folder: str) -> Rows:
    return Rows(KeptSource(Path(folder)))


_KINDS: dict[str, Callable[..., Rows]] = {"pictures": _pictures, "records": _records, "arrays": _arrays, "kept": _kept}
