"""Data that is in memory, or in a file that NumPy reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.batch import Batch
from eightfold.data.binding import as_array, bound, bound_names, check_lengths
from eightfold.data.checks import fits_shape
from eightfold.data.mapped import arrays_of, mapped_npy
from eightfold.data.spec import InputSpec, described
from eightfold.errors import DataError

__all__ = ["ArraySource", "in_memory", "npy", "npz"]


class ArraySource:
    """Whole arrays, in memory or mapped, cut into views."""

    repeatable = True

    def __init__(self, arrays: Batch) -> None:
        self.arrays = arrays

    @property
    def mapped(self) -> bool:
        """Whether all of it is in files, so that another process can read any part of it."""
        labels = [] if self.arrays.labels is None else [self.arrays.labels]
        return all(isinstance(array, np.memmap) for array in (*self.arrays.inputs.values(), *labels))

    @property
    def size(self) -> int | None:
        return self.arrays.size

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on; see `Source.read`."""
        for at in range(start, self.arrays.size, batch_size):
            yield self.arrays.cut(at, at + batch_size)


def in_memory(value: Any, specs: Mapping[str, InputSpec]) -> ArraySource:
    """An array, a dict of arrays, `(x, y)`, or several arrays, with a batch axis each.

    Raises:
        DataError: they do not fit the inputs in name, shape or length.
    """
    inputs, labels = bound(value, specs)
    return _source(Batch(inputs, None if labels is None else as_array(labels, "labels")), specs)


def npz(path: Path, specs: Mapping[str, InputSpec]) -> ArraySource:
    """An `.npz` file: arrays named like the inputs, or `x` for a model of one input; labels in `y`.

    What is not compressed is read piece by piece, so the file may be larger than the memory.

    Raises:
        DataError: it is no such file, or its arrays do not fit the inputs.
    """
    arrays = arrays_of(path)
    labels = None if "y" in specs else arrays.pop("y", None)
    if len(specs) == 1 and "x" in arrays and "x" not in specs:
        arrays[next(iter(specs))] = arrays.pop("x")
    return _source(Batch(bound_names(arrays, specs), labels), specs)


def npy(path: Path, specs: Mapping[str, InputSpec]) -> ArraySource:
    """An `.npy` file: the one array of a model of one input, read piece by piece.

    Raises:
        DataError: it is no such file, the model has more inputs, or the array does not fit.
    """
    return in_memory(mapped_npy(path), specs)


def _source(arrays: Batch, specs: Mapping[str, InputSpec]) -> ArraySource:
    for name, spec in specs.items():
        array = arrays.inputs[name]
        if not fits_shape(array.shape, spec.shape):
            received = described(array.dtype, array.shape)
            raise DataError(f"the data does not fit the input: expected {spec}, received {received}")
    check_lengths(arrays)
    return ArraySource(arrays)
