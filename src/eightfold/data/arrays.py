"""Data that is in memory, or in a file that NumPy reads."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.batch import Batch
from eightfold.data.binding import as_array, bound, bound_names, check_lengths
from eightfold.data.checks import fits_shape
from eightfold.data.spec import InputSpec, described
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["ArraySource", "in_memory", "npz"]


class ArraySource:
    """Whole arrays, cut into views."""

    repeatable = True

    def __init__(self, arrays: Batch) -> None:
        self._arrays = arrays

    @property
    def size(self) -> int | None:
        return self._arrays.size

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on; see `Source.read`."""
        for at in range(start, self._arrays.size, batch_size):
            yield self._arrays.cut(at, at + batch_size)


def in_memory(value: Any, specs: Mapping[str, InputSpec]) -> ArraySource:
    """An array, a dict of arrays, `(x, y)`, or several arrays, with a batch axis each.

    Raises:
        DataError: they do not fit the inputs in name, shape or length.
    """
    inputs, labels = bound(value, specs)
    return _source(Batch(inputs, None if labels is None else as_array(labels, "labels")), specs)


def npz(path: Path, specs: Mapping[str, InputSpec]) -> ArraySource:
    """An `.npz` file: arrays named like the inputs, or `x` for a model of one input; labels in `y`.

    Raises:
        DataError: it is no such file, or its arrays do not fit the inputs.
    """
    arrays = _read(path)
    labels = None if "y" in specs else arrays.pop("y", None)
    if len(specs) == 1 and "x" in arrays and "x" not in specs:
        arrays[next(iter(specs))] = arrays.pop("x")
    return _source(Batch(bound_names(arrays, specs), labels), specs)


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as handle:  # NumPy leaves the file open when it is corrupt
            if handle.read(2) not in (b"PK", b"\x93N"):  # NumPy takes all else for a pickle, and says so
                raise DataError(f"{path} is not an .npz file that can be read: it is no zip archive")
            handle.seek(0)
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DataError(f"{path} holds one array without a name; expected an .npz file")
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not an .npz file that can be read: {error}") from error


def _source(arrays: Batch, specs: Mapping[str, InputSpec]) -> ArraySource:
    for name, spec in specs.items():
        array = arrays.inputs[name]
        if not fits_shape(array.shape, spec.shape):
            received = described(array.dtype, array.shape)
            raise DataError(f"the data does not fit the input: expected {spec}, received {received}")
    check_lengths(arrays)
    return ArraySource(arrays)
