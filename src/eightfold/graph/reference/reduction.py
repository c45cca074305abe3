"""Ops that take many elements together: sums, means, extremes, softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes

__all__: list[str] = []

_REDUCTIONS: Mapping[str, Callable[..., Array]] = {
    "All": np.all,
    "Any": np.any,
    "Max": np.max,
    "Mean": np.mean,
    "Min": np.min,
    "Prod": np.prod,
    "Sum": np.sum,
}


@computes(*_REDUCTIONS)
def _reduce(node: Node, x: Array, axes: Array) -> Array:
    exact = x if x.dtype.kind in "biu" else x.astype(np.float64)
    axis = tuple(int(a) for a in axes.reshape(-1))
    result = _REDUCTIONS[node.op](exact, axis=axis, keepdims=bool(node.attrs.get("keep_dims", False)))
    return np.asarray(result).astype(x.dtype)


@computes("ArgMax")
def _arg_max(node: Node, x: Array, axis: Array) -> Array:
    return np.asarray(np.argmax(x, axis=int(axis))).astype(str(node.attrs.get("output_type", "int64")))


@computes("Softmax")
def _softmax(node: Node, x: Array) -> Array:
    del node
    return np.exp(_log_softmax(x)).astype(x.dtype)


@computes("LogSoftmax")
def _log_softmax_op(node: Node, x: Array) -> Array:
    del node
    return _log_softmax(x).astype(x.dtype)


def _log_softmax(x: Array) -> Array:
    """Over the last axis, in float64."""
    shifted = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
