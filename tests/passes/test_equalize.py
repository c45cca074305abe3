"""Cross-layer equalization: what it wins where channels differ, and that nothing changes where it must not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_nets import INT32, assert_same, depthwise_net, magnitudes_of, spread
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.equalize import equalization, equalize, equalized_tensors
from eightfold.quantization.recipe import Recipe
from lowering import feeds_for, lowered

PER_CHANNEL = Recipe(min_tensorflow="2.17")
PER_TENSOR = Recipe(min_tensorflow="2.17", per_channel=False)


def equalized(model: Model, *, per_channel: bool = True, seed: int = 0) -> Model:
    feeds = feeds_for(model, seed)
    return equalize(model, magnitudes_of(model, equalized_tensors(model), feeds), per_channel=per_channel)


@pytest.mark.parametrize("activation", ["Relu6", "Relu", "LeakyRelu", ""])
@pytest.mark.parametrize("recipe", [PER_CHANNEL, PER_TENSOR], ids=["per channel", "per tensor"])
def test_unequal_channels_are_won_back(activation: str, recipe: Recipe) -> None:
    """Channels of 1:1000 leave 8 bits nothing; equalized they are nearly as good as if they had never differed."""
    model = depthwise_net(activation)
    before, healthy = lowered(model, recipe), lowered(depthwise_net(activation, ratio=1.0), recipe)
    changed = equalized(model, per_channel=recipe.per_channel)
    after = lowered(changed, recipe)
    assert before.sqnr_db < 4
    assert healthy.sqnr_db > 30
    assert after.sqnr_db > healthy.sqnr_db - 3
    assert_same(model, changed, before.feeds)


@pytest.mark.parametrize("per_channel", [True, False])
def test_ranges_of_the_activations_become_equal(per_channel: bool) -> None:
    model = depthwise_net("Relu")
    feeds = feeds_for(model)
    before = magnitudes_of(model, equalized_tensors(model), feeds)
    after = magnitudes_of(equalized(model, per_channel=per_channel), before, feeds)
    assert len(before) == 4
    for tensor, magnitude in before.items():
        assert magnitude.max() / magnitude.min() > 500
        assert after[tensor].max() / after[tensor].min() < 12
        assert after[tensor].max() == pytest.approx(magnitude.max(), rel=1e-4)


def test_a_tensor_before_a_depthwise_convolution_is_equalized_in_full() -> None:
    """Its weights have a scale a channel: nothing speaks against it."""
    model = depthwise_net("Relu")
    feeds = feeds_for(model)
    after = magnitudes_of(equalized(model), [Ref("act"), Ref("act_2")], feeds)
    for magnitude in after.values():
        assert magnitude.max() / magnitude.min() < 1.05


def test_healthy_channels_are_left_alone() -> None:
    model = depthwise_net(ratio=1.0)
    assert equalize(model, {ref: np.ones(16) for ref in equalized_tensors(model)}) is model
    assert lowered(equalized(model)).sqnr_db > lowered(model).sqnr_db - 1


def clipped_pair(activation: str = "Relu6") -> Model:
    """Channels of which some reach a clip of 6, the others at most about 1, 0.1 and 0.01."""
    w = Writer()
    x = w.input("x", (4, 8, 8, 3))
    size = np.float32([12, 1, 0.1, 0.01] * 2)
    y = w.bias(w.conv(x, w.normal(3, 3, 3, 8, scale=0.2) * size), size * np.float32(0.2))
    if activation == "Relu6":
        y = w.node("Relu6", y, name="act")
    else:
        y = w.node("Minimum", w.node("Relu", y), w.const(6.0), name="act")
    return w.model(y=w.conv(y, w.normal(3, 3, 8, 1, scale=0.3) / size[:, None], depthwise=True))


@pytest.mark.parametrize("activation", ["Relu6", "Minimum"])
def test_a_clip_stays_where_it_is_reached(activation: str) -> None:
    model = clipped_pair(activation)
    feeds = feeds_for(model)
    magnitudes = magnitudes_of(model, equalized_tensors(model), feeds)
    ((place, factor),) = equalization(model, magnitudes).items()
    reached = magnitudes[Ref("act")] >= 5.99
    assert place.cap == 6.0
    assert reached.sum() == 2
    assert (factor[reached] == 1.0).all()
    assert (factor[~reached] > 1.0).all()
    np.testing.assert_allclose((factor * magnitudes[Ref("act")])[~reached], 6.0, rtol=0.01)
    changed = equalized(model)
    assert_same(model, changed, feeds)
    assert lowered(changed).sqnr_db > lowered(model).sqnr_db + 20


def test_what_goes_beyond_the_calibrated_range_is_clipped_there() -> None:
    """As in an 8-bit tensor, which saturates at the largest value that calibration saw."""
    model = clipped_pair()
    changed = equalized(model)
    beyond = feeds_for(model, seed=5, lo=-3, hi=3)
    largest = magnitudes_of(model, [Ref("act")], feeds_for(model))[Ref("act")]
    (expected,), (actual,) = (evaluate(m.graph, [Ref("act")], beyond) for m in (model, changed))
    ((_, factor),) = equalization(model, {Ref("act"): largest}).items()
    assert (expected > 1.2 * largest).any()
    np.testing.assert_allclose(actual / factor, np.minimum(expected, 6 / factor), rtol=1e-4, atol=1e-6)


def test_dead_channels_keep_their_weights() -> None:
    model = depthwise_net("Relu")
    magnitudes = {ref: spread(16) * (np.arange(16) > 2) for ref in equalized_tensors(model)}
    for factor in equalization(model, magnitudes).values():
        assert (factor[:3] == 1.0).all()
        assert np.isfinite(factor).all()


def test_tensors_without_a_range_are_left_alone() -> None:
    model = depthwise_net()
    magnitudes = magnitudes_of(model, [Ref("act"), Ref("act_1")], feeds_for(model))
    assert {place.tensor for place in equalization(model, magnitudes)} == {Ref("act"), Ref("act_1")}
    assert equalize(model, {}) is model


def test_no_data_means_no_change() -> None:
    model = depthwise_net()
    assert equalize(model, {ref: np.zeros(16) for ref in equalized_tensors(model)}) is model


def test_pools_padding_and_the_head_are_seen_through() -> None:
    """conv, Relu, MaxPool, Pad, conv, Relu6, Mean, MatMul: both tensors can be equalized."""
    w = Writer()
    k = spread(8)
    y = w.node("Relu", w.conv(w.input("x", (2, 8, 8, 3)), w.normal(3, 3, 3, 8, scale=0.3) * k), name="first")
    pool = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"VALID", "data_format": b"NHWC"}
    y = w.node("MaxPool", y, attrs=pool)
    y = w.node("Pad", y, w.const(np.int32([[0, 0], [1, 1], [1, 1], [0, 0]])), attrs={"Tpaddings": INT32})
    weight = w.normal(3, 3, 8, 8, scale=0.2) / k[:, None] * k
    y = w.node("Relu6", w.conv(y, weight, padding="VALID"), name="second")
    y = w.node("Mean", y, w.const([1, 2]), attrs={"Tidx": INT32, "keep_dims": False})
    model = w.model(y=w.matmul(y, w.normal(8, 4) / k[:, None]))
    assert equalized_tensors(model) == {Ref("first"): 8, Ref("second"): 8}
    changed = equalized(model)
    assert_same(model, changed, feeds_for(model))
    assert lowered(changed).sqnr_db > lowered(model).sqnr_db + 15


@given(
    st.sampled_from(["Relu6", "Relu", ""]),
    st.floats(1, 1e4),
    st.booleans(),
    st.lists(st.floats(0, 8, width=32), min_size=16, max_size=16),
)
@settings(max_examples=25)
def test_the_function_stays_the_same(activation: str, ratio: float, per_channel: bool, seen: list[float]) -> None:
    """Whatever the ranges: a clip moves only for channels that do not reach it."""
    model = depthwise_net(activation, ratio)
    feeds = feeds_for(model)
    truth = magnitudes_of(model, equalized_tensors(model), feeds)
    claimed = {ref: np.maximum(magnitude, np.float32(seen)) for ref, magnitude in truth.items()}
    assert_same(model, equalize(model, claimed, per_channel=per_channel), feeds)


def weights_of(model: Model) -> list[Array]:
    return [node.value for node in model.graph if node.op == "Const" and node.value.ndim == 4]


def test_weights_shared_with_other_convolutions_are_copied() -> None:
    w = Writer()
    k = spread(8)
    x = w.input("x", (2, 6, 6, 8))
    shared = w.const(w.normal(1, 1, 8, 8) * k, "shared")
    attrs = {"strides": (1, 1, 1, 1), "dilations": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}
    y = w.node("Relu", w.node("Conv2D", x, shared, attrs=attrs), name="act")
    other = w.node("Conv2D", x, shared, attrs=attrs)
    model = w.model(y=w.conv(y, w.normal(1, 1, 8, 4) / k[:, None]), other=other)
    changed = equalized(model)
    assert len(weights_of(model)) == 2
    assert len(weights_of(changed)) == 3
    assert_same(model, changed, feeds_for(model))
