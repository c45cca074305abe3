"""Convolutions over images, and what is folded into them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes
from eightfold.graph.reference.window import window_of

__all__ = ["convolve", "convolve_depthwise"]


def convolve(
    node: Node,
    x: Array,
    weight: Array,
    *,
    product: Callable[[Array, Array], Array] = np.matmul,
    fill: float = 0.0,
) -> Array:
    """The convolution that a node describes, in float64: exact where both operands are integers.

    Args:
        node: strides, dilations, padding.
        x: [N, H, W, groups * I].
        weight: [h, w, I, O].
        product: multiplies [pixels, I] by [I, O]; called for each place in the window.
        fill: what the padding holds.

    Returns:
        [N, H', W', O].
    """
    groups = x.shape[3] // weight.shape[2]
    if groups * weight.shape[2] != x.shape[3] or weight.shape[3] % groups:
        raise ModelError(f"node {node.name!r}: input {x.shape} does not fit the filter {weight.shape}")
    window = window_of(node, (weight.shape[0], weight.shape[1]))
    inputs = np.split(x.astype(np.float64), groups, axis=3)
    weights = np.split(weight.astype(np.float64), groups, axis=3)
    results = []
    for part, own in zip(inputs, weights, strict=True):
        total: Array = np.zeros(())
        for i, j, tap in window.taps(part, fill):
            sums = product(tap.reshape(-1, tap.shape[3]), own[i, j])
            total = total + sums.reshape(*tap.shape[:3], -1)
        results.append(total)
    return np.concatenate(results, axis=3)


def convolve_depthwise(node: Node, x: Array, weight: Array) -> Array:
    """The depthwise convolution that a node describes, in float64.

    Args:
        node: strides, dilations, padding.
        x: [N, H, W, C].
        weight: [h, w, C, M]; output channel c * M + m reads input channel c.

    Returns:
        [N, H', W', C * M].
    """
    if x.shape[3] != weight.shape[2]:
        raise ModelError(f"node {node.name!r}: input {x.shape} does not fit the filter {weight.shape}")
    window = window_of(node, (weight.shape[0], weight.shape[1]))
    total: Array = np.zeros(())
    for i, j, tap in window.taps(x.astype(np.float64), 0.0):
        total = total + tap[..., np.newaxis] * weight[i, j].astype(np.float64)
    return total.reshape(*total.shape[:3], -1)


@computes("Conv2D")
def _conv2d(node: Node, x: Array, weight: Array) -> Array:
    return convolve(node, x, weight).astype(x.dtype)


@computes("DepthwiseConv2dNative")
def _depthwise(node: Node, x: Array, weight: Array) -> Array:
    return convolve_depthwise(node, x, weight).astype(x.dtype)


@computes("BiasAdd")
def _bias_add(node: Node, x: Array, bias: Array) -> Array:
    if node.attrs.get("data_format", b"NHWC") == b"NCHW":
        return x + bias.reshape(-1, *(1,) * (x.ndim - 2))
    return x + bias


@computes("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(node: Node, x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Array:
    """Inference only; the outputs that training needs are not computed."""
    if node.attrs.get("is_training", True) or node.attrs.get("data_format", b"NHWC") != b"NHWC":
        raise ModelError(f"node {node.name!r}: batch norm has a NumPy reference for NHWC inference only")
    gain = scale / np.sqrt(variance.astype(np.float64) + node.attrs.get("epsilon", 1e-4))
    return np.asarray((x - mean) * gain + offset).astype(x.dtype)
