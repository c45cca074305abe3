"""A multiplication, an addition and a Relu for each channel, left over where no convolution took them in.

    x ─ [Mul(scale)] ─ [AddV2(shift)] ─ [Relu]      =>   _FusedQuantizedDepthwiseConv2D, 1x1
    x, y ─ AddV2 ─ [Relu]                           =>   the same with a summand
    x ─ Relu                                        =>   the same with a scale of one

This is what keeps a ResNet V2 or a DenseNet, whose batch norms come before the convolution, in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eightfold.graph.encoding import Code
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, any_, const, either, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.activations import cap_of, clipped
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.conditions import finite_weight, known_channels, same_shape, zero_floor
from eightfold.rewrites.kernels import DEPTHWISE, scale_channels
from eightfold.rewrites.rewrite import Condition, Facts, Reads, Rewrite

__all__ = ["AFFINE"]

_SCALED = op("Mul", any_("x"), const("scale"), commutative=True)
_SHIFTED = op("Add|AddV2|BiasAdd", either(_SCALED, any_("x")), const("shift"))
_SHIFTED_SWAPPED = op("Add|AddV2", const("shift"), either(_SCALED, any_("x")))
_CHANGED = either(_SHIFTED, _SHIFTED_SWAPPED, _SCALED)
_SUM = op("Add|AddV2", any_("x"), any_("summand"))


def _reads(match: Match) -> Reads:
    data = ((match.refs["x"], Code.ANY),)
    return (*data, (match.refs["summand"], Code.BYTE)) if "summand" in match else data


def _gives(match: Match) -> Code:
    if "act" in match:
        return Code.UNSIGNED if "summand" in match else Code.UNSIGNED | Code.SIGNED
    return Code.BYTE if "summand" in match else Code.ANY


def _channels(match: Match, b: Builder) -> int:
    channels = b.shape_of(match.root)[3]
    assert channels is not None  # the condition known_channels holds
    return channels


def _vector(value: Array | None, channels: int, default: float) -> Array:
    return np.full(channels, default) if value is None else np.broadcast_to(value.reshape(-1), (channels,))


def _emit(b: Builder, match: Match) -> None:
    channels = _channels(match, b)
    codes = scale_channels(
        b,
        match.root.node,
        b.coded(match.refs["x"]),
        _vector(match.get("scale"), channels, 1.0),
        _vector(match.get("shift"), channels, 0.0),
        b.encodings[match.root],
        relu="act" in match,
        summand=b.coded(match.refs["summand"], Code.BYTE) if "summand" in match else None,
    )
    b.give(match.root, codes)


def _per_channel(match: Match, facts: Facts) -> str | None:
    """Constants must be one number, or one a channel, and must not make the tensor larger."""
    shape = facts.shape(match.root)
    for name in ("scale", "shift"):
        value = match.get(name)
        if value is None:
            continue
        if value.ndim > 4 or value.size not in (1, shape[3]) or (value.size > 1 and value.shape[-1] != value.size):
            return f"the constant of shape {value.shape} is not one number a channel"
    if facts.shape(match.refs["x"])[1:] != shape[1:]:
        return "a constant broadcasts the tensor to a larger shape"
    return None


def _example(*, add: bool, relu: bool) -> Callable[[], Model]:
    def example() -> Model:
        w = Writer()
        x = w.input("x", (2, 6, 6, 8))
        pooled = [_pooled(w, x) for _ in range(2 if add else 1)]
        if add:
            y = w.node("AddV2", *pooled)
        else:
            y = w.node("AddV2", w.node("Mul", *pooled, w.const(w.normal(8))), w.const(w.normal(8)))
        y = w.node("Relu", y) if relu else y
        return w.model(y=w.conv(y, w.normal(1, 1, 8, 8, scale=0.3)))

    return example


def _pooled(w: Writer, x: Ref) -> Ref:
    relu = w.node("Relu", w.conv(x, w.normal(1, 1, 8, 8, scale=0.3)))
    return w.node("MaxPool", relu, attrs=_POOL)


_POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def _relu_example() -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.conv(x, w.normal(1, 1, 8, 8, scale=0.3))
    pooled = w.node("MaxPool", y, attrs=_POOL)
    return w.model(y=w.conv(w.node("Relu", pooled), w.normal(1, 1, 8, 8, scale=0.3)))


def _rewrite(name: str, *, add: bool, relu: bool) -> Rewrite:
    inner = _SUM if add else _CHANGED
    when: tuple[Condition, ...] = (known_channels, finite_weight, zero_floor)
    when += (same_shape("x", "summand"),) if add else (_per_channel,)
    return Rewrite(
        name=name,
        pattern=clipped(inner) if relu else inner,
        int8_op=DEPTHWISE,
        emit=_emit,
        reads=_reads,
        gives=_gives,
        cap=cap_of,
        when=when,
        role="carry" if add else "bridge",  # alone, it is as fast in float behind a Dequantize
        example=_example(add=add, relu=relu),
    )


AFFINE: tuple[Rewrite, ...] = (
    _rewrite("affine_relu", add=False, relu=True),
    _rewrite("affine", add=False, relu=False),
    _rewrite("add_relu", add=True, relu=True),
    _rewrite("add", add=True, relu=False),
    Rewrite(
        name="relu",
        pattern=clipped(any_("x")),
        int8_op=DEPTHWISE,
        emit=_emit,
        reads=_reads,
        gives=_gives,
        cap=cap_of,
        when=(known_channels, zero_floor),
        role="bridge",
        example=_relu_example,
    ),
)
