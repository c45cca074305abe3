"""The fused 8-bit kernels: exact integer sums, then one scaling, then rounding and saturation.

    real = acc · s_x · s_w[c] + bias[c] [+ s_sum · summand]
    q    = saturate(rint(activation(real) / s_out))

A step s is max(|min|, |max|) / 255 for quint8 and / 127 for qint8, the filter's for each output channel or
one for all; no zero points. Forms that TensorFlow refuses, or computes wrongly, raise `ModelError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.convolution import convolve, convolve_depthwise
from eightfold.graph.reference.elementwise import ACTIVATIONS, numpy_dtype
from eightfold.graph.reference.quantization import affine_step, saturate, scaled_step
from eightfold.graph.reference.registry import computes

__all__ = ["fused_convolution", "fused_matmul", "legacy_matmul"]

_Product: TypeAlias = Callable[[Array, Array], Array]
"""Sums the products of codes [M, K] and [K, N]."""

_TO_INT32 = {(), ("BiasAdd",), ("Relu",), ("BiasAdd", "Relu")}
_TO_BYTES = {(*ops, "Requantize") for ops in _TO_INT32} | {("BiasAdd", "Sum", "Relu", "Requantize")}


def _fused_ops(node: Node) -> tuple[str, ...]:
    return tuple(op.decode() for op in node.attrs.get("fused_ops", ()))


def _refuse(node: Node, why: str) -> ModelError:
    return ModelError(f"node {node.name!r}, a {node.op} of {list(_fused_ops(node))}: {why}")


# --- convolutions ---------------------------------------------------------------------------------------


@computes("_FusedQuantizedConv2D")
def fused_convolution(
    node: Node,
    x: Array,
    weight: Array,
    *inputs: Array,
    accumulate: Callable[[Node, Array, Array], Array] = convolve,
) -> tuple[Array, ...]:
    """Inputs after the filter: [bias], [summand], the ranges of input, filter, [summand] and [output].

    `accumulate` sums the products of codes.
    """
    fused, rest = _check_convolution(node), iter(inputs)
    if node.op == "_FusedQuantizedConv2D" and weight.shape[2] != x.shape[3]:
        raise _refuse(node, f"no grouped convolution; input {x.shape}, filter {weight.shape}")
    bias = next(rest) if "BiasAdd" in fused else None
    summand = next(rest) if "Sum" in fused else None
    input_step = scaled_step(next(rest), next(rest), x.dtype)
    unit = input_step * scaled_step(next(rest), next(rest), weight.dtype)
    real = accumulate(node, x, weight) * unit
    if bias is not None:
        real += bias * (unit if bias.dtype == np.int32 else 1.0)
    if summand is not None:
        if summand.dtype != np.uint8:
            raise _refuse(node, f"adds a {summand.dtype} summand; the kernel is right for quint8 only")
        real += summand * scaled_step(next(rest), next(rest), summand.dtype)
    if "Relu" in fused:
        real = np.maximum(real, 0)
    held_as = numpy_dtype(node.attrs["out_type"])
    if "Requantize" not in fused:
        # One unit for all channels, although the range that the kernel reports is each channel's own.
        reported = (unit * 2.0**31).astype(np.float32)
        return saturate(real / np.max(unit), held_as), -reported, reported
    lo, hi = next(rest), next(rest)
    return saturate(real / scaled_step(lo, hi, held_as), held_as), lo, hi


def _check_convolution(node: Node) -> tuple[str, ...]:
    fused, out = _fused_ops(node), str(node.attrs["out_type"])
    if fused not in (_TO_INT32 if out == "qint32" else _TO_BYTES):
        raise _refuse(node, f"TensorFlow has no such kernel with a {out} result")
    if "Sum" in fused and out != "quint8":
        raise _refuse(node, f"the kernel adds into quint8 only, received out_type {out}")
    return fused


@computes("_FusedQuantizedDepthwiseConv2D")
def _depthwise_convolution(node: Node, x: Array, weight: Array, *rest: Array) -> tuple[Array, ...]:
    return fused_convolution(node, x, weight, *rest, accumulate=convolve_depthwise)


# --- matrix products ------------------------------------------------------------------------------------


def _exact_product(x: Array, weight: Array) -> Array:
    """[M, K] times [K, N] in float64."""
    return np.asarray(x.astype(np.float64) @ weight.astype(np.float64))


def _real_product(node: Node, x: Array, weight: Array, ranges: Iterator[Array], product: _Product) -> Array:
    """The product of what the codes stand for, without bias.

    Input mode MIN_FIRST, for quint8 only: a code q of the input stands for q · s + lo.
    """
    x = x.T if node.attrs.get("transpose_a", False) else x
    weight = weight.T if node.attrs.get("transpose_b", False) else weight
    lo, hi = next(ranges), next(ranges)
    weight_step = scaled_step(next(ranges), next(ranges), np.dtype(np.int8))
    sums = product(x, weight)
    if node.attrs.get("input_quant_mode", b"MIN_FIRST") == b"SCALED":
        return np.asarray(sums * scaled_step(lo, hi, x.dtype) * weight_step)
    if x.dtype != np.uint8:
        raise _refuse(node, "input_quant_mode MIN_FIRST is right for a quint8 input only")
    return np.asarray((sums * affine_step(lo, hi) + lo * weight.sum(axis=0, dtype=np.float64)) * weight_step)


def _activation(node: Node, name: str) -> Callable[[Array], Array]:
    if name == "LeakyRelu":
        alpha = node.attrs.get("leakyrelu_alpha", 0.2)
        return lambda x: np.where(x > 0, x, alpha * x)
    if name not in ACTIVATIONS or name.startswith("_"):
        raise _refuse(node, f"there is no fused {name}")
    return ACTIVATIONS[name]


@computes("_QuantizedMatMul")
def fused_matmul(
    node: Node, x: Array, weight: Array, bias: Array, *rest: Array, product: _Product = _exact_product
) -> Array:
    """Inputs after the bias: [a float addend], the ranges of input, weight and [output]."""
    fused = _fused_ops(node)
    last = fused[-1] if fused else ""
    if len(fused) not in (2, 3) or fused[0] != "BiasAdd" or last not in ("Dequantize", "Requantize"):
        raise _refuse(node, "TensorFlow has no such kernel")
    if bias.dtype != np.float32:
        raise _refuse(node, f"the kernel takes a float32 bias, received {bias.dtype}")
    inputs = iter(rest)
    addend = next(inputs) if fused[1] == "Add" else None
    real = _real_product(node, x, weight, inputs, product) + bias
    if addend is not None:
        if last != "Dequantize":
            raise _refuse(node, "a sum can be had in float only")
        real = real + addend
    elif len(fused) == 3:
        real = _activation(node, fused[1])(real)
    if last == "Dequantize":
        return np.asarray(real).astype(numpy_dtype(node.attrs["Tout"]))
    return _requantized(node, real, next(inputs), next(inputs))


def _requantized(node: Node, real: Array, lo: Array, hi: Array) -> Array:
    held_as = numpy_dtype(node.attrs["Tout"])
    if node.attrs.get("output_quant_mode", b"SCALED") == b"SCALED":
        return saturate(real / scaled_step(lo, hi, held_as), held_as)
    if held_as != np.uint8:
        raise _refuse(node, "output_quant_mode MIN_FIRST has a reference for quint8 only")
    return saturate((real - lo) / affine_step(lo, hi), held_as)


_LEGACY = "QuantizedMatMulWithBiasAnd"


@computes(f"{_LEGACY}Dequantize", f"{_LEGACY}Requantize", f"{_LEGACY}ReluAndRequantize")
def legacy_matmul(
    node: Node, x: Array, weight: Array, bias: Array, *rest: Array, product: _Product = _exact_product
) -> Array | tuple[Array, ...]:
    """Those of TensorFlow 2.16: one range for the whole weight, a quint8 input, input mode SCALED."""
    *ranges, lo, hi = rest
    if node.attrs.get("input_quant_mode", b"MIN_FIRST") != b"SCALED" or x.dtype != np.uint8:
        raise _refuse(node, "the kernel is right for a quint8 input in mode SCALED only")
    if any(bound.size != 1 for bound in ranges):
        raise _refuse(node, "the kernel takes one range for the whole weight")
    real = _real_product(node, x, weight, iter(ranges), product) + _float_bias(bias, ranges)
    if node.op == f"{_LEGACY}Dequantize":
        return np.asarray(real).astype(np.float32)
    held_as = numpy_dtype(node.attrs["Toutput"])
    real = np.maximum(real, 0) if "Relu" in node.op else real
    return saturate(real / scaled_step(lo, hi, held_as), held_as), lo, hi


def _float_bias(bias: Array, ranges: list[Array]) -> Array:
    """A qint32 bias counts in units of input step · weight step."""
    if bias.dtype != np.int32:
        return bias
    steps = scaled_step(ranges[0], ranges[1], np.dtype(np.uint8)) * scaled_step(ranges[2], ranges[3], np.dtype(np.int8))
    return np.asarray(bias * steps)
