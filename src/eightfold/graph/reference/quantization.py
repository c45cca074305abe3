"""Numbers to 8-bit codes and back.

What a code stands for follows from a range [lo, hi] and the mode:

    SCALED         x = q · s             s = hi / 255 for quint8, max(|lo|, |hi|) / 127 for qint8
    MIN_COMBINED   x = (q + h) · s + lo  s = (hi - lo) / 255, h = 0 for quint8 and 128 for qint8
    MIN_FIRST      the same, but Dequantize moves lo to the nearest multiple of s
"""

from __future__ import annotations

import numpy as np

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.elementwise import numpy_dtype
from eightfold.graph.reference.registry import computes

__all__ = ["affine_step", "saturate", "scaled_step"]

_LEVELS = {"uint8": 255, "int8": 127}


def scaled_step(lo: Array, hi: Array, held_as: np.dtype[np.generic]) -> Array:
    """What a code is worth to a kernel without zero point: max(|lo|, |hi|) over 255 (uint8) or 127 (int8)."""
    return np.maximum(np.abs(lo), np.abs(hi)).astype(np.float64) / _LEVELS[held_as.name]


def affine_step(lo: Array, hi: Array) -> Array:
    """What one of the 255 steps from lo to hi is worth."""
    return np.asarray((hi.astype(np.float64) - lo) / 255)


def saturate(steps: Array, held_as: np.dtype[np.generic]) -> Array:
    """Numbers counted in steps as codes: rounded half to even, kept within the integer type."""
    bounds = np.iinfo(held_as.name)
    return np.clip(np.rint(steps), bounds.min, bounds.max).astype(held_as)


def _half_away(steps: Array) -> Array:
    return np.copysign(np.floor(np.abs(steps) + 0.5), steps)


@computes("QuantizeV2")
def _quantize(node: Node, x: Array, lo: Array, hi: Array) -> tuple[Array, ...]:
    """Computes what the kernel for a computed input does; TensorFlow has another one for a constant input.

    Returns:
        The codes, and the range used: zero is added to the range given, and a range narrower than
        `ensure_minimum_range` (0.01 unless set) is widened to it.
    """
    held_as = numpy_dtype(node.attrs["T"])
    lo, hi = _usable(node, lo, hi)
    low, high = _spread(node, x, lo), _spread(node, x, hi)
    mode = node.attrs.get("mode", b"MIN_COMBINED")
    if mode != b"SCALED":
        steps = (x - low) / affine_step(low, high) - (128 if held_as == np.int8 else 0)
        return saturate(_half_away(steps), held_as), lo, hi
    _check_scaled(node, held_as, lo)
    steps = x / scaled_step(low, high, held_as)
    if node.attrs.get("round_mode", b"HALF_AWAY_FROM_ZERO") != b"HALF_TO_EVEN":
        steps = _half_away(steps)
    if held_as == np.uint8:
        return saturate(steps, held_as), np.zeros_like(hi), hi
    limit = np.maximum(np.abs(lo), np.abs(hi))
    return saturate(np.clip(steps, -127, 127), held_as), -limit, limit


def _usable(node: Node, lo: Array, hi: Array) -> tuple[Array, Array]:
    lowest = np.minimum(lo, np.float32(0))
    least = np.maximum(1, np.maximum(np.abs(lo), np.abs(hi))) * node.attrs.get("ensure_minimum_range", 0.01)
    return lowest, np.maximum(np.maximum(hi, 0), lowest + least).astype(np.float32)


def _spread(node: Node, x: Array, bound: Array) -> Array:
    """A bound for each slice along `axis`, in a shape that broadcasts over x."""
    if bound.ndim == 0:
        return bound
    shape = [1] * x.ndim
    shape[node.attrs["axis"]] = bound.size
    return bound.reshape(shape)


def _check_scaled(node: Node, held_as: np.dtype[np.generic], lo: Array) -> None:
    if held_as == np.uint8 and np.any(lo < 0):
        raise ModelError(f"node {node.name!r}: SCALED quint8 needs a range that starts at 0, received {lo.min()}")
    if held_as == np.int8 and not node.attrs.get("narrow_range", False):
        raise ModelError(
            f"node {node.name!r}: SCALED qint8 needs narrow_range; without it TensorFlow's kernels disagree"
        )


@computes("Dequantize")
def _dequantize(node: Node, codes: Array, lo: Array, hi: Array) -> Array:
    low, high = _spread(node, codes, lo), _spread(node, codes, hi)
    counted = codes.astype(np.float64)
    mode = node.attrs.get("mode", b"MIN_COMBINED")
    if mode == b"SCALED":
        result = counted * _code_worth(node, codes, low, high)
    else:
        step = affine_step(low, high)
        counted += 128 if codes.dtype == np.int8 else 0
        result = counted * step + (np.rint(low / step) * step if mode == b"MIN_FIRST" else low)
    return np.asarray(result).astype(numpy_dtype(node.attrs.get("dtype", "float32")))


def _code_worth(node: Node, codes: Array, low: Array, high: Array) -> Array:
    if codes.dtype == np.uint8:
        return high.astype(np.float64) / 255
    lowest = 127 if node.attrs.get("narrow_range", False) else 128
    return np.maximum(-low.astype(np.float64) / lowest, high.astype(np.float64) / 127)
