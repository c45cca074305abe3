"""Ops that move numbers without looking at them work on codes as well.

    x ─ Reshape | Squeeze | ExpandDims                       =>   the same op on codes
    x ─ Transpose | Slice | ResizeNearest | Tile ...         =>   Bitcast ─ the same op on bytes ─ Bitcast
    x ─ Pad                                                  =>   the same, padding with the code of zero
    a, b, c ─ ConcatV2                                       =>   ConcatV2 of codes, which share one encoding

The detours are there because TensorFlow has no quantized kernel for the op, or one that is 10 to 30 times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Pattern, any_, const, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.rewrite import Facts, Reads, Rewrite

__all__ = ["MOVEMENT"]

_ON_CODES = "Reshape|Squeeze|ExpandDims"
_ON_BYTES = "Transpose|Slice|StridedSlice|ResizeNearestNeighbor|Tile|MirrorPad|DepthToSpace|SpaceToDepth"
_INT32 = DType("int32")


def _reads(match: Match) -> Reads:
    return ((match.refs["x"], Code.ANY),)


def _shape_inputs(b: Builder, match: Match) -> tuple[Ref, ...]:
    """The inputs after the first: shapes, axes, paddings; never codes."""
    return tuple(b.real(ref) for ref in match.node.inputs[1:])


def _emit_on_codes(b: Builder, match: Match) -> None:
    x = b.coded(match.refs["x"], like=b.encodings[match.root])
    attrs = {**match.node.attrs, "T": x.encoding.dtype}
    b.give(match.root, b.add(match.node.op, match.node.name, (x.ref, *_shape_inputs(b, match)), attrs))


def _bitcast(b: Builder, name: str, ref: Ref, source: DType, target: DType) -> Ref:
    return b.add("Bitcast", name, (ref,), {"T": source, "type": target})


def _emit_on_bytes(b: Builder, match: Match) -> None:
    node = match.node
    x = b.coded(match.refs["x"], like=b.encodings[match.root])
    quantized, plain = x.encoding.dtype, DType(x.encoding.dtype.removeprefix("q"))
    ref = _bitcast(b, f"{node.name}/bytes", x.ref, quantized, plain)
    ref = b.add(node.op, f"{node.name}/moved", (ref, *_shape_inputs(b, match)), {**node.attrs, "T": plain})
    b.give(match.root, _bitcast(b, node.name, ref, plain, quantized))


# --- Pad ----------------------------------------------------------------------------------------------------------


def _emit_pad(b: Builder, match: Match) -> None:
    x = b.coded(match.refs["x"], like=b.encodings[match.root])
    name, quantized, plain = match.node.name, x.encoding.dtype, DType(x.encoding.dtype.removeprefix("q"))
    ref = _bitcast(b, f"{name}/bytes", x.ref, quantized, plain)
    zero = b.const(f"{name}/zero", np.array(x.encoding.zero, str(plain)))
    paddings = b.const(f"{name}/paddings", match.value("paddings").astype(np.int32))
    ref = b.add("PadV2", f"{name}/padded", (ref, paddings, zero), {"T": plain, "Tpaddings": _INT32})
    b.give(match.root, _bitcast(b, name, ref, plain, quantized))


def _pads_nothing_negative(match: Match, facts: Facts) -> str | None:
    return "it pads a negative amount" if (match.value("paddings") < 0).any() else None


# --- ConcatV2 -----------------------------------------------------------------------------------------------------


def _concat_reads(match: Match) -> Reads:
    return tuple((ref, Code.ANY) for ref in match.named["concat"].inputs[:-1])


def _emit_concat(b: Builder, match: Match) -> None:
    node = match.named["concat"]
    encoding = b.encodings[match.root]
    parts = [b.coded(ref, like=encoding).ref for ref in node.inputs[:-1]]
    attrs = {**node.attrs, "T": encoding.dtype}
    b.give(match.root, b.add("ConcatV2", node.name, (*parts, b.real(node.inputs[-1])), attrs))


def _constant_axis(match: Match, facts: Facts) -> str | None:
    axis = match.graph.constant(match.named["concat"].inputs[-1])
    return None if axis is not None else "its axis is not constant"


# --- examples -----------------------------------------------------------------------------------------------------


def _between_convs(middle: Callable[[Writer, Ref], Ref], out_channels: int = 8) -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)))
    return w.model(y=w.conv(middle(w, y), w.normal(1, 1, out_channels, 8, scale=0.3)))


def _reshape_example() -> Model:
    types = {"Tshape": _INT32}
    return _between_convs(lambda w, y: w.node("Reshape", y, w.const([2, 3, 12, 8]), attrs=types))


def _transpose_example() -> Model:
    return _between_convs(lambda w, y: w.node("Transpose", y, w.const([0, 2, 1, 3]), attrs={"Tperm": _INT32}))


def _pad_example() -> Model:
    pads = [[0, 0], [1, 2], [0, 1], [0, 0]]
    return _between_convs(
        lambda w, y: w.node(
            "Pad",
            w.node("MaxPool", y, attrs=_POOL),
            w.const(np.array(pads, np.int32)),
            attrs={"Tpaddings": _INT32},
        )
    )


_POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"SAME", "data_format": b"NHWC"}


def _concat_example() -> Model:
    def middle(w: Writer, y: Ref) -> Ref:
        other = w.conv(y, w.normal(1, 1, 8, 4, scale=0.3))
        return w.node("ConcatV2", y, other, w.const(3), attrs={"N": 2, "Tidx": _INT32})

    return _between_convs(middle, out_channels=12)


def _mover(name: str, pattern: Pattern, int8_op: str, emit: Callable[[Builder, Match], None], **rest: Any) -> Rewrite:
    """A rewrite that moves codes: any coding goes in, and the same comes out."""
    given = {"reads": _reads, "gives": lambda match: Code.ANY, "role": "carry", "same_scale": True, **rest}
    return Rewrite(name=name, pattern=pattern, int8_op=int8_op, emit=emit, **given)


MOVEMENT: tuple[Rewrite, ...] = (
    _mover("reshape", op(_ON_CODES, any_("x")), "Reshape", _emit_on_codes, example=_reshape_example),
    _mover("transpose", op(_ON_BYTES, any_("x")), "Transpose", _emit_on_bytes, example=_transpose_example),
    _mover(
        "pad",
        op("Pad", any_("x"), const("paddings")),
        "PadV2",
        _emit_pad,
        when=(_pads_nothing_negative,),
        example=_pad_example,
    ),
    _mover(
        "concat",
        op("ConcatV2", name="concat"),
        "ConcatV2",
        _emit_concat,
        reads=_concat_reads,
        when=(_constant_axis,),
        example=_concat_example,
    ),
)
