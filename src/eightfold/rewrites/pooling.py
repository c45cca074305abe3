"""Pooling in 8 bits.

    x ─ MaxPool | AvgPool                           =>   QuantizedMaxPool | QuantizedAvgPool: codes in, codes out
    x ─ Mean(height, width) ─ [Reshape | Squeeze]   =>   _FusedQuantizedDepthwiseConv2D with a filter of equal weights

The average over a whole image has a much smaller range than the image. A depthwise convolution gives it a range of its
own, where QuantizedAvgPool would round it to the steps of its input.
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, any_, const, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.conditions import channels_last
from eightfold.rewrites.kernels import DEPTHWISE, POINTWISE, fused_conv
from eightfold.rewrites.rewrite import Facts, Reads, Rewrite
from eightfold.rewrites.weights import quantize_weight

__all__ = ["POOLING"]

_LARGEST_MEAN = 12 * 12
"""Pixels. Beyond this the filter costs more than leaving the mean in float."""


def _reads(match: Match) -> Reads:
    return ((match.refs["x"], Code.ANY),)


def _emit_pool(b: Builder, match: Match) -> None:
    node = match.named["pool"]
    x = b.coded(match.refs["x"], like=b.encodings[match.root])
    attrs = {
        "T": x.encoding.dtype,
        "ksize": node.attrs["ksize"],
        "strides": node.attrs["strides"],
        "padding": node.attrs["padding"],
    }
    inputs = (x.ref, *b.kernel_range(x.encoding))
    b.give(match.root, b.add(f"Quantized{node.op}", node.name, inputs, attrs))


def _within_image(match: Match, facts: Facts) -> str | None:
    attrs = match.named["pool"].attrs
    if attrs["padding"] == b"EXPLICIT":
        return "its padding is explicit, which the 8-bit kernel does not know"
    pooled = all(attrs[key][0] == attrs[key][3] == 1 for key in ("ksize", "strides"))
    return None if pooled else "it pools over batch or channels"


def _pool_example(kind: str) -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)))
    pool = {"ksize": (1, 3, 3, 1), "strides": (1, 2, 2, 1), "padding": b"SAME", "data_format": b"NHWC"}
    return w.model(y=w.conv(w.node(kind, y, attrs=pool), w.normal(1, 1, 8, 8, scale=0.3)))


# --- the mean over an image ---------------------------------------------------------------------------------------


def _emit_mean(b: Builder, match: Match) -> None:
    x = b.coded(match.refs["x"])
    shape = b.shape_of(match.refs["x"])
    height, width, channels = (int(size or 0) for size in shape[1:])
    weight = quantize_weight(np.full((height, width, channels, 1), 1 / (height * width)), (2, 3))
    out = b.encodings[match.root]
    name = match.root.node
    keeps = bool(match.named["mean"].attrs.get("keep_dims"))
    codes = fused_conv(
        b, DEPTHWISE, name if keeps else f"{name}/mean", x, weight, None, out, relu=out.code is Code.UNSIGNED,
        geometry=POINTWISE,
    )  # fmt: skip
    b.give(match.root, codes if keeps else _flattened(b, name, codes, channels, out.dtype))


def _flattened(b: Builder, name: str, codes: Ref, channels: int, dtype: DType) -> Ref:
    target = b.const(f"{name}/shape", np.array([-1, channels], np.int32))
    return b.add("Reshape", name, (codes, target), {"T": dtype, "Tshape": DType("int32")})


def _over_image(match: Match, facts: Facts) -> str | None:
    axes = sorted(int(axis) % 4 for axis in np.atleast_1d(match.value("axes")))
    shape = facts.shape(match.refs["x"])
    if not shape.known_rank or len(shape) != 4 or axes != [1, 2]:
        return "it is not the mean over height and width of an image"
    if None in shape[1:]:
        return "height and width are not known before the run"
    pixels = int(np.prod([int(size or 0) for size in shape[1:3]]))
    return None if pixels <= _LARGEST_MEAN else f"an image of {pixels} pixels is averaged faster in float"


def _mean_example() -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)))
    mean = w.node("Mean", y, w.const([1, 2]), attrs={"Tidx": DType("int32"), "keep_dims": False})
    return w.model(y=w.matmul(mean, w.normal(8, 4)))


POOLING: tuple[Rewrite, ...] = (
    *(
        Rewrite(
            name=kind.lower(),
            pattern=op(kind, any_("x"), name="pool"),
            int8_op=f"Quantized{kind}",
            emit=_emit_pool,
            reads=_reads,
            gives=lambda match: Code.ANY,
            when=(channels_last, _within_image),
            role="carry" if kind == "MaxPool" else "bridge",
            same_scale=True,
            example=lambda kind=kind: _pool_example(kind),  # type: ignore[misc]
        )
        for kind in ("MaxPool", "AvgPool")
    ),
    Rewrite(
        name="mean",
        pattern=op("Mean", any_("x"), const("axes"), name="mean"),
        int8_op=DEPTHWISE,
        emit=_emit_mean,
        reads=_reads,
        gives=lambda match: Code.ANY,
        when=(_over_image,),
        role="bridge",
        example=_mean_example,
    ),
)
