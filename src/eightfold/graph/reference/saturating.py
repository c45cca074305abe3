"""What the 8-bit kernels compute on CPUs without VNNI, where sums of two products saturate.

    VPMADDUBSW   u8 · s8, two neighbours added in 16 bits with signed saturation
    VPMADDWD     by ones: two of these sums added in 32 bits
    VPADDD       added to the running sum in 32 bits

Two products of 8-bit weights reach 255 · 127 · 2 = 64770 and saturate at 32767. Two of 7-bit weights reach at most
255 · 63 · 2 = 32130 and are exact. With VNNI, VPDPBUSD adds four products to 32 bits at once and nothing saturates.

Neighbours are input channels, two by two, at one place of the window; rows for a matrix. A depthwise convolution has
no neighbours to add: oneDNN multiplies in 32 bits (VPMULLD). Signed input is shifted by 128 to be unsigned, padding
too, and 128 times the sum of the weights is taken off again. For convolutions over signed input oneDNN also halves the
weights, rounded half to even, and doubles the sums: nothing saturates, and odd codes lose a bit.

Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, PMADDUBSW, PMADDWD, PADDD and VPDPBUSD;
oneDNN developer guide, "Nuances of int8 Computations".
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from functools import partial

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.convolution import convolve, convolve_depthwise
from eightfold.graph.reference.quantized import fused_convolution, fused_matmul, legacy_matmul
from eightfold.graph.reference.registry import KERNELS, Kernel

__all__ = ["SATURATING", "saturating_convolution", "saturating_product"]

_SHIFT = 128
"""What makes a signed code unsigned."""


def saturating_product(x: Array, weight: Array) -> Array:
    """The matrix product of codes.

    Args:
        x: uint8 or int8 [M, K].
        weight: int8 [K, N].

    Returns:
        float64 [M, N], whole numbers.
    """
    shift = _SHIFT if x.dtype == np.int8 else 0
    sums = _pairwise(x.astype(np.float64) + shift, weight.astype(np.float64))
    return np.asarray(sums - shift * weight.sum(axis=0, dtype=np.float64))


def saturating_convolution(node: Node, x: Array, weight: Array) -> Array:
    """The convolution of codes.

    Args:
        node: strides, dilations, padding.
        x: uint8 or int8 [N, H, W, I].
        weight: int8 [h, w, I, O].

    Returns:
        float64 [N, H', W', O], whole numbers.
    """
    if x.dtype == np.uint8:
        return convolve(node, x, weight, product=_pairwise)
    halved = _halved(weight)
    sums = convolve(node, x.astype(np.float64) + _SHIFT, halved, product=_pairwise, fill=_SHIFT)
    return np.asarray(2 * (sums - _SHIFT * halved.sum(axis=(0, 1, 2))))


def _depthwise(node: Node, x: Array, weight: Array) -> Array:
    if x.dtype == np.uint8:
        return convolve_depthwise(node, x, weight)
    return 2 * convolve_depthwise(node, x, _halved(weight))


def _halved(weight: Array) -> Array:
    return np.asarray(np.rint(weight / 2))


def _pairwise(x: Array, weight: Array) -> Array:
    """[M, K] times [K, N] in float64: the sum of two neighbouring products is held in 16 bits."""
    limits = np.iinfo(np.int16)
    total = np.zeros((x.shape[0], weight.shape[1]))
    for k in range(0, x.shape[1], 2):
        total += np.clip(x[:, k : k + 2] @ weight[k : k + 2], limits.min, limits.max)
    return total


_MATMULS = {
    "_QuantizedMatMul": fused_matmul,
    **dict.fromkeys(
        (f"QuantizedMatMulWithBiasAnd{last}" for last in ("Dequantize", "Requantize", "ReluAndRequantize")),
        legacy_matmul,
    ),
}

SATURATING: Mapping[str, Kernel] = ChainMap(
    {
        "_FusedQuantizedConv2D": partial(fused_convolution, accumulate=saturating_convolution),
        "_FusedQuantizedDepthwiseConv2D": partial(fused_convolution, accumulate=_depthwise),
        **{op: partial(kernel, product=saturating_product) for op, kernel in _MATMULS.items()},
    },
    KERNELS,
)
"""The table of `evaluate` for a CPU without VNNI."""
