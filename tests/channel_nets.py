"""Nets whose channels are planted to differ, and what calibration would find of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from lowering import outputs_of

INT32 = DType("int32")


def spread(channels: int, ratio: float = 1000.0) -> Array:
    """[C]: factors evenly spread from 1 down to 1/ratio, in no order."""
    factors = ratio ** -np.linspace(0.0, 1.0, channels)
    return np.random.default_rng(1).permutation(factors).astype(np.float32)


def depthwise_net(activation: str = "Relu6", ratio: float = 1000.0, channels: int = 16) -> Model:
    """conv, depthwise, conv, depthwise, conv: every tensor between two has channels that differ by a ratio."""
    w = Writer()
    k = spread(channels, ratio)
    y = w.input("x", (None, 12, 12, 3))
    before = np.ones(3, np.float32)
    shapes = [(3, 3, 3, channels), (3, 3, channels, 1), (1, 1, channels, channels), (3, 3, channels, 1)]
    for shape in shapes:
        depthwise = shape[3] == 1
        fan_in = shape[0] * shape[1] * (1 if depthwise else shape[2])
        weight = w.normal(*shape, scale=0.8 / fan_in**0.5) / before[:, None]
        weight = weight * (k[:, None] if depthwise else k)
        bias = (0.5 + w.normal(channels, scale=0.1)) * k
        y = w.bias(w.conv(y, weight, depthwise=depthwise), bias)
        y = w.node(activation, y, name="act") if activation else y
        before = k
    return w.model(y=w.conv(y, w.normal(1, 1, channels, 4, scale=0.3) / k[:, None]))


def normalized(w: Writer, x: Ref, scale: Array, shift: Array, axis: int) -> Ref:
    """A layer normalization over the last axis, in the nodes that Keras 3 writes."""
    reduced = {"Tidx": INT32, "keep_dims": True}
    mean = w.node("Mean", x, w.const([axis]), attrs=reduced)
    variance = w.node("Mean", w.node("SquaredDifference", x, mean), w.const([axis]), attrs=reduced)
    inverse = w.node("Rsqrt", w.node("AddV2", variance, w.const(1e-3)))
    inverse = w.node("Mul", inverse, w.const(scale))
    moved = w.node("AddV2", w.node("Mul", w.node("Neg", mean), inverse), w.const(shift))
    return w.node("AddV2", w.node("Mul", x, inverse), moved, name="normalized")


def attention_inputs(outliers: Mapping[int, float], channels: int = 32) -> Model:
    """A layer normalization of [N, T, C] read by three products. Larger channels have smaller weights."""
    w = Writer()
    x = w.input("x", (None, 10, channels))
    scale = np.ones(channels, np.float32)
    for channel, factor in outliers.items():
        scale[channel] = factor
    y = normalized(w, x, scale.reshape(1, 1, -1), (w.normal(channels, scale=0.1) * scale).reshape(1, 1, -1), 2)
    flat = w.node("Reshape", y, w.const([-1, channels]), attrs={"Tshape": INT32}, name="flat")
    weights = {name: w.normal(channels, 16, scale=0.2) / scale[:, None] ** 0.75 for name in ("q", "k", "v")}
    return w.model(**{name: w.matmul(flat, weight) for name, weight in weights.items()})


def magnitudes_of(model: Model, tensors: Iterable[Ref], feeds: Mapping[Ref, Array]) -> dict[Ref, Array]:
    """[C]: the largest absolute value of each channel."""
    refs = list(tensors)
    values = evaluate(model.graph, refs, feeds)
    return {ref: np.abs(v).reshape(-1, v.shape[-1]).max(axis=0) for ref, v in zip(refs, values, strict=True)}


def assert_same(model: Model, changed: Model, feeds: Mapping[Ref, Array], tolerance: float = 1e-4) -> None:
    """Both compute the same, relative to the largest output."""
    for expected, actual in zip(
        evaluate(model.graph, outputs_of(model), feeds),
        evaluate(changed.graph, outputs_of(changed), feeds),
        strict=True,
    ):
        assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()
