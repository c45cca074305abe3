"""Random input that fits a signature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Signature, TensorSpec

__all__ = ["random_feeds"]

_UNKNOWN_SIZES = (64, 224, 32, 16, 8, 4, 1)
"""Guesses for dimensions that are not known before the run; images first."""


def random_feeds(signature: Signature, seed: int = 0, batch: int = 2, guess: int = 0) -> Mapping[Ref, Array]:
    """Seeded input for every tensor of a signature.

    Args:
        signature: what to fit.
        seed: of the numbers.
        batch: for an unknown first dimension.
        guess: which of `_UNKNOWN_SIZES` an unknown further dimension gets.
    """
    random = np.random.default_rng(seed)
    size = _UNKNOWN_SIZES[guess % len(_UNKNOWN_SIZES)]
    return {spec.ref: _values(spec, random, batch, size) for spec in signature.inputs.values()}


def _values(spec: TensorSpec, random: np.random.Generator, batch: int, size: int) -> Array:
    dims = spec.shape if spec.shape.known_rank else (None,)
    shape = [batch if axis == 0 and dim is None else size if dim is None else dim for axis, dim in enumerate(dims)]
    kind = str(spec.dtype)
    if kind == "string":
        return np.full(shape, b"", object)
    if kind == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if kind.startswith(("int", "uint")):
        return random.integers(0, 2, shape).astype(kind)
    import ml_dtypes  # comes with TensorFlow; gives NumPy bfloat16

    dtype = np.dtype(ml_dtypes.bfloat16) if kind == "bfloat16" else np.dtype(kind)
    values: Array = random.uniform(-1, 1, shape).astype(dtype)
    return values


GUESSES = len(_UNKNOWN_SIZES)
