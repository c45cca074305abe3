"""Ops that treat every element alike: arithmetic, activations, comparisons, casts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes

__all__ = ["ACTIVATIONS", "numpy_dtype"]

Unary: TypeAlias = Callable[[Array], Array]
Binary: TypeAlias = Callable[[Array, Array], Array]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, arXiv:1706.02515
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))  # unlike 1 / (1 + exp(-x)), never overflows


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


ACTIVATIONS: Mapping[str, Unary] = {
    "Elu": _elu,
    "GeluApproximate": _gelu_tanh,  # Hendrycks and Gimpel 2016, arXiv:1606.08415
    "GeluExact": _gelu,
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Selu": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "Sigmoid": _sigmoid,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
    "_MklSwish": lambda x: x * _sigmoid(x),
}
"""By op type or, for what exists as a fused op only, by its name there."""

_FUSED_ONLY = {"GeluApproximate", "GeluExact"}

_UNARY: Mapping[str, Unary] = {
    **{op: function for op, function in ACTIVATIONS.items() if op not in _FUSED_ONLY},
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Log1p": np.log1p,
    "LogicalNot": np.logical_not,
    "Neg": np.negative,
    "Reciprocal": lambda x: 1 / x,
    "Round": np.rint,
    "Rsqrt": lambda x: 1 / np.sqrt(x),
    "Sign": np.sign,
    "Sqrt": np.sqrt,
    "Square": np.square,
}

_ARITHMETIC: Mapping[str, Binary] = {
    "Add": np.add,
    "AddV2": np.add,
    "FloorDiv": np.floor_divide,
    "FloorMod": np.mod,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "RealDiv": np.divide,
    "SquaredDifference": lambda x, y: np.square(x - y),
    "Sub": np.subtract,
}

_COMPARISON: Mapping[str, Binary] = {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
    "NotEqual": np.not_equal,
}


@computes(*_UNARY)
def _unary(node: Node, x: Array) -> Array:
    return np.asarray(_UNARY[node.op](x)).astype(x.dtype)


@computes(*_ARITHMETIC)
def _arithmetic(node: Node, x: Array, y: Array) -> Array:
    return np.asarray(_ARITHMETIC[node.op](x, y)).astype(x.dtype)


@computes(*_COMPARISON)
def _comparison(node: Node, x: Array, y: Array) -> Array:
    return np.asarray(_COMPARISON[node.op](x, y))


@computes("AddN")
def _add_n(node: Node, *inputs: Array) -> Array:
    del node
    return np.asarray(sum(inputs[1:], start=inputs[0]))


@computes("LeakyRelu")
def _leaky_relu(node: Node, x: Array) -> Array:
    return np.where(x > 0, x, x * x.dtype.type(node.attrs.get("alpha", 0.2)))


@computes("SelectV2")
def _select(node: Node, condition: Array, x: Array, y: Array) -> Array:
    del node
    return np.where(condition, x, y)


@computes("ClipByValue")
def _clip(node: Node, x: Array, lowest: Array, highest: Array) -> Array:
    del node
    return np.clip(x, lowest, highest)


_QUANTIZED = {"quint8": "uint8", "qint8": "int8", "qint32": "int32"}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """How a TensorFlow dtype is held; quantized ones as the integers they are.

    Raises:
        ModelError: NumPy has no such dtype (resource, variant).
    """
    try:
        return np.dtype(_QUANTIZED.get(name, name))
    except TypeError as error:
        raise ModelError(f"the NumPy reference cannot hold a tensor of dtype {name}") from error


@computes("Cast")
def _cast(node: Node, x: Array) -> Array:
    return x.astype(numpy_dtype(node.attrs["DstT"]))


@computes("Bitcast")
def _bitcast(node: Node, x: Array) -> Array:
    """A larger element is split into a new last axis; a last axis of smaller ones becomes one element."""
    target = numpy_dtype(node.attrs["type"])
    x = np.ascontiguousarray(x)
    if target.itemsize < x.dtype.itemsize:
        return x[..., np.newaxis].view(target)
    if target.itemsize > x.dtype.itemsize:
        return x.view(target)[..., 0]
    return x.view(target)
