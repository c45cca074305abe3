"""Input for a model of which only the signature is known; NumPy alone, since environments of peers make it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.protocol import Refusal

__all__ = ["synthetic"]

SIDE = 224
"""Height and width of a synthetic image whose signature leaves them open."""


def synthetic(
    specs: Mapping[str, tuple[list[int | None], str]], batch_size: int, seed: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Input that fits a signature: real numbers in [0, 1), whole numbers 0 or 1, empty strings.

    Args:
        specs: for each input its shape, with None where it is open, and its dtype by TensorFlow's name.
        batch_size: the first dimension where that is open. Heights and widths that are open become 224, what
            else is open becomes 1.
        seed: of the random numbers.

    Raises:
        Refusal: the first dimension is fixed to something other than `batch_size`, or the dtype is unknown.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, npt.NDArray[Any]] = {}
    for name, (shape, dtype) in specs.items():
        if len(shape) > 1 and shape[0] not in (None, batch_size):
            raise Refusal(f"input {name!r} takes batches of {shape[0]}, not of {batch_size}")
        made[name] = _random(rng, _filled(shape, batch_size), dtype, name)
    return made


def _filled(shape: list[int | None], batch_size: int) -> tuple[int, ...]:
    """The shape with the open dimensions filled in: the batch, then the sides of images, then 1."""
    side = SIDE if len(shape) == 4 else 1
    return tuple((batch_size if axis == 0 else side) if extent is None else extent for axis, extent in enumerate(shape))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, name: str) -> npt.NDArray[Any]:
    if dtype == "string":
        return np.full(shape, b"", dtype=object)
    if dtype == "bfloat16":
        import ml_dtypes

        return rng.random(shape, dtype=np.float32).astype(ml_dtypes.bfloat16)
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        raise Refusal(f"input {name!r} is of {dtype}, for which no input can be made; give data") from None
    if kind in "fc":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
