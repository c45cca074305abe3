"""A factor for each channel finds its way into constants, or the reason why not is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_nets import INT32, assert_same
from eightfold.graph.encoding import Code, encoding_of
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.pattern import Miss
from eightfold.graph.ranges import Range
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.channels.error import Reader, gain, predicted_error
from eightfold.passes.channels.scaling import Scaling, scaled, scaling
from eightfold.rewrites.weights import quantize_weight
from lowering import feeds_for

T = Ref("t")
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"VALID", "data_format": b"NHWC"}


def between(inner: Callable[[Writer, Ref], Ref], *, height: int = 6) -> Model:
    """conv ─ inner ─ t ─ conv."""
    w = Writer()
    y = w.conv(w.input("x", (2, height, height, 3)), w.normal(3, 3, 3, 8, scale=0.3))
    y = w.node("Relu", inner(w, y), name="t")
    return w.model(y=w.conv(y, w.normal(3, 3, 8, 4, scale=0.3)))


def sum_of_two(w: Writer, y: Ref) -> Ref:
    return w.node("AddV2", y, w.bias(w.conv(Ref("x"), w.normal(1, 1, 3, 8)), w.normal(8)))


def affine(w: Writer, y: Ref) -> Ref:
    return w.node("Sub", w.node("Mul", w.node("Sigmoid", y), w.const(w.normal(1, 1, 1, 8))), w.const(w.normal(8)))


def pooled(w: Writer, y: Ref) -> Ref:
    return w.node("AvgPool", w.node("Neg", w.node("LeakyRelu", y, attrs={"alpha": 0.2})), attrs=POOL)


def gated(w: Writer, y: Ref) -> Ref:
    return w.node("Mul", w.node("Sigmoid", w.conv(Ref("x"), w.normal(1, 1, 3, 8))), y)


def depthwise(w: Writer, y: Ref) -> Ref:
    half = w.conv(y, w.normal(1, 1, 8, 4, scale=0.3))
    return w.conv(half, w.normal(3, 3, 4, 2), depthwise=True)  # two results for each channel


@pytest.mark.parametrize(
    ("inner", "constants"), [(sum_of_two, 3), (affine, 2), (pooled, 1), (gated, 1), (depthwise, 1)]
)
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_the_tensor_is_scaled_and_the_model_the_same(
    inner: Callable[[Writer, Ref], Ref], constants: int, seed: int
) -> None:
    model = between(inner)
    place = scaling(model, T)
    assert isinstance(place, Scaling)
    assert (len(place.before), len(place.after), place.channels, place.cap) == (constants, 1, 8, None)
    factor = np.exp(np.random.default_rng(seed).normal(0, 2, 8))
    changed = scaled(model, {place: factor})
    feeds = feeds_for(model, seed)
    assert_same(model, changed, feeds)
    (before,), (after,) = (evaluate(m.graph, [T], feeds) for m in (model, changed))
    np.testing.assert_allclose(after, before * factor, rtol=1e-4, atol=1e-4 * factor.max())


def test_two_tensors_may_share_a_weight() -> None:
    """A depthwise convolution is divided for the tensor before it and multiplied for the one behind it."""
    w = Writer()
    y = w.node("Relu", w.conv(w.input("x", (2, 6, 6, 3)), w.normal(1, 1, 3, 8)), name="t")
    y = w.node("Relu", w.conv(y, w.normal(3, 3, 8, 1), depthwise=True), name="u")
    model = w.model(y=w.conv(y, w.normal(1, 1, 8, 4)))
    places = [scaling(model, Ref(name)) for name in ("t", "u")]
    factors = {p: np.exp(np.linspace(-3, 3, 8)) for p in places if isinstance(p, Scaling)}
    assert len(factors) == 2
    changed = scaled(model, factors)
    assert_same(model, changed, feeds_for(model))
    assert changed.graph["conv_1"].inputs[1] == Ref("conv_1/scaled")
    np.testing.assert_allclose(changed.graph["conv_1/scaled"].value, model.graph["weight_1"].value, rtol=1e-6)


def test_nothing_to_scale_is_the_same_model() -> None:
    model = between(pooled)
    assert scaled(model, {}) is model


def residual(w: Writer, y: Ref) -> Ref:
    return w.node("AddV2", y, w.conv(y, w.normal(1, 1, 8, 8)))


def squared(w: Writer, y: Ref) -> Ref:
    return w.node("Mul", y, y, name="square")


def inner_clip(w: Writer, y: Ref) -> Ref:
    return w.bias(w.node("Relu6", y, name="clip"), w.normal(8))


def turned(w: Writer, y: Ref) -> Ref:
    return w.node("Transpose", y, w.const([0, 2, 1, 3]), attrs={"Tperm": INT32}, name="turned")


def one_number(w: Writer, y: Ref) -> Ref:
    return w.node("AddV2", y, w.const(1.0, "one"), name="shifted")


def floor(w: Writer, y: Ref) -> Ref:
    return w.node("Maximum", y, w.const(-1.0), name="floor")


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (residual, "conv is also read by conv_1"),
        (squared, "square squares its input"),
        (inner_clip, "clip (Relu6) does not let a factor for each channel through"),
        (turned, "turned (Transpose) does not let a factor for each channel through"),
        (one_number, "the constant one:0 of shifted does not have one number for each of 8 channels"),
        (floor, "floor (Maximum) does not let a factor for each channel through"),
    ],
)
def test_why_a_tensor_cannot_be_scaled(inner: Callable[[Writer, Ref], Ref], reason: str) -> None:
    found = scaling(between(inner), T)
    assert isinstance(found, Miss)
    assert found.reason == reason


def test_readers_of_different_channels() -> None:
    w = Writer()
    t = w.node("Relu", w.matmul(w.input("x", (4, 3)), w.normal(3, 8)), name="t")
    paired = w.node("Reshape", t, w.const([8, 4]), attrs={"Tshape": INT32})
    model = w.model(y=w.matmul(t, w.normal(8, 2)), z=w.matmul(paired, w.normal(4, 2)))
    found = scaling(model, T)
    assert isinstance(found, Miss)
    assert found.reason == "t:0 is read by weights of [4, 8] input channels, expected one number of them"


def test_a_flattened_image_has_no_channels_of_its_own() -> None:
    w = Writer()
    t = w.node("Relu", w.conv(w.input("x", (2, 4, 4, 3)), w.normal(1, 1, 3, 8)), name="t")
    flat = w.node("Reshape", t, w.const([-1, 128]), attrs={"Tshape": INT32})
    found = scaling(w.model(y=w.matmul(flat, w.normal(128, 2))), T)
    assert isinstance(found, Miss)
    assert found.reason == "conv (Conv2D) has no constant weight of 128 output channels"


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_predicted_error_is_that_of_rounding(per_channel: bool) -> None:
    """Compared with what rounding really does, on channels of 1:100."""
    random = np.random.default_rng(0)
    w = Writer()
    k = 100.0 ** -np.linspace(0, 1, 32)
    t = w.node("Relu", w.matmul(w.input("x", (4, 8)), w.normal(8, 32)), name="t")
    model = w.model(y=w.matmul(t, (w.normal(32, 16) * 0.3).astype(np.float32)))
    place = scaling(model, T)
    assert isinstance(place, Scaling)
    (reader,) = (Reader.of(model.graph, operand) for operand in place.after)
    x = np.clip(random.normal(0, 1 / 3, (20_000, 32)), -1, 1) * k
    encoding = encoding_of(Range(-1, 1), Code.OFFSET)
    weight = quantize_weight(reader.value, (1,), per_channel=per_channel).real
    real = encoding.dequantize(encoding.quantize(x)).astype(np.float64) @ weight - x @ reader.value
    # an offset code covers -1..1 in 255 steps: twice the step that a range of 0..1 would have
    predicted = predicted_error(k, [reader], per_channel=per_channel)
    tensor_part = np.square(k.max() / 255) * np.square(reader.value.astype(np.float64)).sum()
    expected = (predicted + 3 * tensor_part) / 12
    assert np.square(real).sum(axis=1).mean() == pytest.approx(expected, rel=0.1)
    assert gain(k, [reader], 1 / k, per_channel=per_channel) == pytest.approx(
        predicted / predicted_error(np.ones(32), [reader.times(k)], per_channel=per_channel)
    )
