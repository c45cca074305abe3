"""Conv2D and DepthwiseConv2dNative with what follows them.

x ─ [Pad] ─ Conv2D ─ [BiasAdd] ─ [AddV2(summand)] ─ [Relu | Relu6 | min(Relu, n)]

=>   _FusedQuantizedConv2D(x, filter, bias[, summand])          the same with Depthwise
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eightfold.graph.encoding import Code
from eightfold.graph.ir import Array, Attr
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Pattern, any_, const, either, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.activations import cap_of, clipped
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.conditions import (
    bias_per_channel,
    channels_last,
    finite_weight,
    known_channels,
    same_shape,
    symmetric_strides,
    ungrouped,
    zero_floor,
)
from eightfold.rewrites.kernels import CONV, DEPTHWISE, fused_conv
from eightfold.rewrites.rewrite import Condition, Facts, Reads, Rewrite

__all__ = ["CONVOLUTIONS"]


@dataclass(frozen=True)
class _Kind:
    """What sets the two convolutions apart.

    Attributes:
        op, int8_op: before and after.
        axes: the filter's axes that make up the output channels.
    """

    name: str
    op: str
    int8_op: str
    axes: tuple[int, ...]


_KINDS = (
    _Kind("conv", "Conv2D", CONV, (3,)),
    _Kind("depthwise", "DepthwiseConv2dNative", DEPTHWISE, (2, 3)),
)


def _geometry(match: Match) -> Mapping[str, Attr]:
    """The convolution's own geometry, with a constant Pad before it folded in."""
    attrs = match.named["conv"].attrs
    pad = match.get("pad")
    if pad is None:
        return attrs
    own = attrs["explicit_paddings"] if attrs["padding"] == b"EXPLICIT" else (0,) * 8
    total = tuple(int(a) + b for a, b in zip(pad.reshape(-1), own, strict=True))
    return {**attrs, "padding": b"EXPLICIT", "explicit_paddings": total}


def _pads(match: Match) -> bool:
    """Whether zeros are read beyond the input, which forbids an offset there."""
    geometry = _geometry(match)
    if geometry["padding"] == b"EXPLICIT":
        return any(geometry["explicit_paddings"])
    return geometry["padding"] == b"SAME" and match.value("filter").shape[:2] != (1, 1)


def _input_codes(match: Match) -> Code:
    return Code.UNSIGNED | Code.SIGNED if _pads(match) else Code.ANY


def _reads(match: Match) -> Reads:
    data = ((match.refs["x"], _input_codes(match)),)
    return (*data, (match.refs["summand"], Code.BYTE)) if "summand" in match else data


def _gives(match: Match) -> Code:
    if "act" in match:
        return Code.UNSIGNED if "summand" in match else Code.UNSIGNED | Code.SIGNED
    return Code.BYTE if "summand" in match else Code.ANY


def _emit(kind: _Kind) -> Callable[[Builder, Match], None]:
    def emit(b: Builder, match: Match) -> None:
        conv = match.named["conv"]
        x = b.coded(match.refs["x"], _input_codes(match))
        summand = b.coded(match.refs["summand"], Code.BYTE) if "summand" in match else None
        weight = b.weight(match.root.node, conv.name, match.value("filter"), kind.axes)
        bias: Array | None = match.get("bias")
        codes = fused_conv(
            b,
            kind.int8_op,
            match.root.node,
            x,
            weight,
            None if bias is None else bias.reshape(-1),
            b.encodings[match.root],
            relu="act" in match,
            summand=summand,
            geometry=_geometry(match),
        )
        b.give(match.root, codes)

    return emit


def _plain_pad(match: Match, facts: Facts) -> str | None:
    """A Pad before the convolution must be constant and of the spatial axes."""
    pad = match.get("pad")
    if pad is None:
        return None
    if pad.shape != (4, 2) or pad[[0, 3]].any() or (pad < 0).any():
        return f"it pads more than height and width ({pad.tolist()})"
    return "it pads before padding SAME" if match.named["conv"].attrs["padding"] == b"SAME" else None


def _example(kind: _Kind, *, add: bool, relu: bool) -> Callable[[], Model]:
    def example() -> Model:
        w = Writer()
        x = w.input("x", (2, 6, 6, 8))
        depthwise = kind.name == "depthwise"
        shape = (3, 3, 8, 1) if depthwise else (3, 3, 8, 8)
        y = w.bias(w.conv(x, w.normal(*shape, scale=0.2), depthwise=depthwise), w.normal(8))
        if add:
            y = w.node("AddV2", y, w.conv(x, w.normal(1, 1, 8, 8, scale=0.3)))
        return w.model(y=w.node("Relu", y) if relu else y)

    return example


def _pattern(kind: _Kind, *, add: bool, relu: bool) -> Pattern:
    padded = either(op("Pad", any_("x"), const("pad")), any_("x"))
    conv = op(kind.op, padded, const("filter"), name="conv")
    result = either(op("BiasAdd", conv, const("bias")), conv)
    if add:
        result = op("Add|AddV2", result, any_("summand"), commutative=True)
    return clipped(result) if relu else result


def _rewrite(kind: _Kind, *, add: bool, relu: bool) -> Rewrite:
    when: tuple[Condition, ...] = (
        channels_last,
        symmetric_strides,
        known_channels,
        finite_weight,
        bias_per_channel,
        _plain_pad,
        zero_floor,
    )
    if kind.op == "Conv2D":
        when = (*when, ungrouped)
    if add:
        when = (*when, same_shape("summand"))
    return Rewrite(
        name="_".join([kind.name, *(["add"] if add else []), *(["relu"] if relu else [])]),
        pattern=_pattern(kind, add=add, relu=relu),
        int8_op=kind.int8_op,
        emit=_emit(kind),
        reads=_reads,
        gives=_gives,
        cap=cap_of,
        when=when,
        example=_example(kind, add=add, relu=relu),
    )


CONVOLUTIONS: tuple[Rewrite, ...] = tuple(
    _rewrite(kind, add=add, relu=relu) for kind in _KINDS for add in (True, False) for relu in (True, False)
)
