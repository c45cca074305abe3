"""Whether an array fits an input: shape, dtype, finite values."""

from __future__ import annotations

from typing import Any

import numpy as np

from eightfold.data.spec import InputSpec, described
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["castable", "check", "checked", "fits_shape"]


def fits_shape(shape: tuple[int, ...], expected: tuple[int | None, ...] | None) -> bool:
    """Whether every dimension is the expected one, where one is expected. The batch axis is not compared."""
    if expected is None:
        return True
    pairs = zip(shape[1:], expected[1:], strict=False)
    return len(shape) == len(expected) and all(want in (None, have) for have, want in pairs)


def castable(dtype: np.dtype[Any], spec: InputSpec) -> bool:
    """Whether values of `dtype` may become the input's dtype.

    Whole numbers may become floats (pictures are 8-bit codes), and floats other floats; floats never become
    whole numbers, because the digits behind the point would be lost without a word.
    """
    if spec.dtype == "string":
        return dtype.kind in "OSU"
    allowed = {"f": "fiub", "V": "fiub", "i": "iub", "u": "iub", "b": "b", "c": "cfiub"}
    kind = spec.numpy.kind
    return dtype == spec.numpy or dtype.kind in allowed.get(kind, kind)


def checked(array: Array, spec: InputSpec, batch: int) -> Array:
    """The array in the input's dtype; `batch` is its number in the data, for the message.

    Raises:
        DataError: see `check`; or a number is too large for the input's dtype.
    """
    check(array, spec, batch)
    with np.errstate(over="ignore"):
        cast = array.astype(spec.numpy, copy=False)
    if cast.dtype.kind == "f" and cast.dtype.itemsize < array.dtype.itemsize:
        _check_finite(cast, spec, batch, f"does not fit into {spec.dtype}: it becomes")
    return cast


def check(array: Array, spec: InputSpec, batch: int) -> None:
    """Looks at an array before it is cast.

    Raises:
        DataError: the shape does not fit, the dtype cannot be cast without loss, a whole number is out of
            range, or a value is NaN or infinite.
    """
    if not fits_shape(array.shape, spec.shape):
        received = described(array.dtype, array.shape)
        raise DataError(f"the data does not fit the input: expected {spec}, received {received} in batch {batch}")
    if not castable(array.dtype, spec):
        raise DataError(
            f"input '{spec.name}' takes {spec.dtype}, and the data is {array.dtype}, which cannot become "
            f"{spec.dtype} without loss; convert it before"
        )
    _check_range(array, spec)
    if array.dtype.kind == "f":
        _check_finite(array, spec, batch, "holds")


def _check_range(array: Array, spec: InputSpec) -> None:
    if spec.dtype == "string" or spec.numpy.kind not in "iu" or array.dtype.kind not in "iu" or not array.size:
        return
    if array.dtype == spec.numpy:
        return
    limits = np.iinfo(spec.numpy)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        raise DataError(
            f"input '{spec.name}' takes {spec.dtype} ({limits.min} to {limits.max}), and the data has values "
            f"from {low} to {high}"
        )


def _check_finite(array: Array, spec: InputSpec, batch: int, verb: str) -> None:
    finite = np.isfinite(array)
    if finite.all():
        return
    at = tuple(int(i) for i in np.argwhere(~finite)[0])
    value = "NaN" if np.isnan(array[at]) else "Inf"
    where = f"batch {batch}, example {at[0]} of it" if at else f"batch {batch}"
    raise DataError(f"the data for input '{spec.name}' {verb} {value} ({where}): every value must be finite")
