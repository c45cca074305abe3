"""Writes the fused convolution kernels, the only place that knows their inputs and attributes.

Both `_FusedQuantizedConv2D` and `_FusedQuantizedDepthwiseConv2D` compute

    q = saturate(round((acc · s_in · s_w + bias [+ s_sum · q_sum]) [Relu] / s_out))

with no zero points; the offsets of `Code.OFFSET` tensors are absorbed in the bias here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from eightfold.graph.encoding import Code, Encoding
from eightfold.graph.ir import Array, Attr, DType, Ref
from eightfold.rewrites.weights import quantize_weight

if TYPE_CHECKING:
    from eightfold.rewrites.builder import Builder, Coded
    from eightfold.rewrites.weights import Weight

__all__ = ["CONV", "DEPTHWISE", "POINTWISE", "conv_attrs", "fused_conv", "requantize", "scale_channels"]

CONV = "_FusedQuantizedConv2D"
DEPTHWISE = "_FusedQuantizedDepthwiseConv2D"
POINTWISE: Mapping[str, Attr] = {"strides": (1, 1, 1, 1), "padding": b"VALID", "dilations": (1, 1, 1, 1)}
"""Geometry of a 1x1 convolution."""

_FLOAT = DType("float32")
_SEVEN_BITS = 63
"""The largest code of a 7-bit weight. Where 8-bit sums saturate, oneDNN halves the weights over signed input by itself;
such codes are written doubled, so that they come out whole."""


def fused_conv(
    b: Builder,
    op: str,
    name: str,
    x: Coded,
    weight: Weight,
    bias: Array | None,
    out: Encoding,
    *,
    relu: bool = False,
    summand: Coded | None = None,
    geometry: Mapping[str, Attr] = POINTWISE,
) -> Ref:
    """Writes one fused convolution; returns its codes.

    Args:
        b: where to write.
        op: `CONV` or `DEPTHWISE`.
        name: of the node.
        x: the input codes.
        weight: quantized weights.
        bias: [C], in the tensor's unit, or `None`.
        out: encoding of the result. `OFFSET` and a fused Relu exclude each other unless there is a summand.
        relu: whether the float graph clips at zero.
        summand: codes to add; must be `quint8`, and so is the result then.
        geometry: strides, padding, explicit_paddings and dilations.
    """
    if x.encoding.code is Code.SIGNED and np.abs(weight.codes.astype(np.int16)).max(initial=0) <= _SEVEN_BITS:
        weight = weight.doubled()
    total = np.zeros(weight.limit.size, np.float64) + (0.0 if bias is None else bias)
    total = total - x.encoding.offset * weight.channel_sums() + out.offset
    if (learned := b.correction(name).bias) is not None:
        total = total + learned
    if summand is not None:
        total = total - summand.encoding.offset
    fused: list[bytes] = [b"BiasAdd"]
    device = [x.ref, b.const(f"{name}/weight", weight.codes, DType("qint8"))]
    device.append(b.const(f"{name}/bias", total.astype(np.float32)))
    no_limit = np.zeros_like(weight.limit)  # only the larger magnitude counts; zeros are one constant for all filters
    host = [*b.kernel_range(x.encoding), *b.bounds(no_limit, weight.limit)]
    types = [x.encoding.dtype, DType("qint8"), _FLOAT]
    if summand is not None:
        fused.append(b"Sum")
        device.append(summand.ref)
        types.append(summand.encoding.dtype)
        host.extend(b.kernel_range(summand.encoding))
    if relu or summand is not None:  # the kernel adds only before a Relu; at code 0 it is the saturation itself
        fused.append(b"Relu")
    host.extend(b.kernel_range(out))
    attrs = {
        **conv_attrs(x.encoding.dtype, out.dtype, geometry),
        "fused_ops": (*fused, b"Requantize"),
        "Tdevice_inputs": tuple(types),
        "Thost_inputs": (_FLOAT,) * len(host),
    }
    return b.add(op, name, (*device, *host), attrs)


def conv_attrs(x: DType, out: DType, geometry: Mapping[str, Attr]) -> dict[str, Attr]:
    """What all uses of the two kernels have in common; the fused ops and the types of the inputs are still to come."""
    return {
        "Tinput": x,
        "Tfilter": DType("qint8"),
        "Tbias": _FLOAT,
        "Tsummand": out,
        "out_type": out,
        "Tdevice_outputs": (out,),
        "Thost_outputs": (_FLOAT, _FLOAT),
        "strides": geometry["strides"],
        "padding": geometry["padding"],
        "dilations": geometry.get("dilations", (1, 1, 1, 1)),
        "explicit_paddings": geometry.get("explicit_paddings", ()),
        "data_format": b"NHWC",
        "is_filter_const": True,
        "is_bias_const": True,
    }


def scale_channels(
    b: Builder,
    name: str,
    x: Coded,
    scale: Array,
    shift: Array | None,
    out: Encoding,
    *,
    relu: bool = False,
    summand: Coded | None = None,
) -> Ref:
    """x · scale + shift [+ summand] [Relu] for each channel, as a depthwise 1x1 convolution: one pass, exact.

    Args:
        scale, shift: [C].
    """
    bits = 7 if x.encoding.code is Code.SIGNED else 8  # exact either way, and the halves of the codes are whole
    weight = quantize_weight(np.asarray(scale, np.float64).reshape(1, 1, -1, 1), (2, 3), bits=bits)
    return fused_conv(b, DEPTHWISE, name, x, weight, shift, out, relu=relu, summand=summand)


def requantize(b: Builder, name: str, x: Coded, channels: int, out: Encoding) -> Ref:
    """The same numbers in another encoding, for a tensor of rank 4."""
    relu = out.code is Code.UNSIGNED
    return scale_channels(b, name, x, np.ones(channels), None, out, relu=relu)
