"""Pooling over images, of numbers and of 8-bit codes."""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes
from eightfold.graph.reference.window import Window, window_of

__all__: list[str] = []


def _window(node: Node) -> Window:
    size = node.attrs["ksize"]
    return window_of(node, (size[1], size[2]))


def _max(node: Node, x: Array) -> Array:
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    result: Array | None = None
    for _, _, tap in _window(node).taps(x, lowest):
        result = tap if result is None else np.maximum(result, tap)
    return np.array(result)


def _average(node: Node, x: Array) -> Array:
    """In float64; padding is not counted."""
    window = _window(node)
    total = sum(tap for _, _, tap in window.taps(x.astype(np.float64), 0.0))
    count = sum(tap for _, _, tap in window.taps(np.ones((1, *x.shape[1:3], 1)), 0.0))
    return np.asarray(total / count)


@computes("MaxPool")
def _max_pool(node: Node, x: Array) -> Array:
    return _max(node, x)


@computes("AvgPool")
def _average_pool(node: Node, x: Array) -> Array:
    return _average(node, x).astype(x.dtype)


@computes("QuantizedMaxPool")
def _quantized_max_pool(node: Node, x: Array, lo: Array, hi: Array) -> tuple[Array, ...]:
    return _max(node, x), lo, hi


@computes("QuantizedAvgPool")
def _quantized_average_pool(node: Node, x: Array, lo: Array, hi: Array) -> tuple[Array, ...]:
    """Rounded half to even to a code of the input's range."""
    return np.rint(_average(node, x)).astype(x.dtype), lo, hi
