"""SmoothQuant: outlier channels before matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_nets import INT32, assert_same, attention_inputs, magnitudes_of, normalized
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.passes.smooth import smooth, smoothed_tensors, smoothing, unsmoothed
from lowering import feeds_for, lowered

OUTLIERS = {3: 80.0, 17: 50.0}
NORMALIZED = Ref("normalized")


def smoothed(model: Model, alpha: float = 0.5) -> Model:
    return smooth(model, magnitudes_of(model, smoothed_tensors(model), feeds_for(model)), alpha=alpha)


def test_outliers_move_into_the_weights() -> None:
    """Two channels of 32 take the whole range; smoothed, the products are nearly as good as without them."""
    model, plain = attention_inputs(OUTLIERS), attention_inputs({})
    changed = smoothed(model)
    assert smoothed_tensors(model) == {NORMALIZED: 32}
    assert_same(model, changed, feeds_for(model))
    before, after, best = (lowered(m).sqnr_db for m in (model, changed, plain))
    assert before < 15
    assert best > 40
    assert after > best - 2


def test_the_factor_is_that_of_the_paper() -> None:
    model = attention_inputs(OUTLIERS)
    magnitudes = magnitudes_of(model, [NORMALIZED], feeds_for(model))
    weights = [model.graph[name].value for name in ("weight", "weight_1", "weight_2")]
    largest = np.abs(weights).max(axis=(0, 2))
    for alpha in (0.5, 0.7):
        ((place, factor),) = smoothing(model, magnitudes, alpha=alpha).items()
        s = magnitudes[NORMALIZED] ** alpha / largest ** (1 - alpha)
        np.testing.assert_allclose(1 / factor, s, rtol=1e-6)
        assert [operand.node for operand in place.after] == ["matmul", "matmul_1", "matmul_2"]
        assert len(place.before) == 2  # scale and shift of the normalization


def test_even_channels_are_left_alone() -> None:
    model = attention_inputs({})
    assert smoothed(model) is model


def test_tensors_without_a_range_are_left_alone() -> None:
    model = attention_inputs(OUTLIERS)
    assert smooth(model, {}) is model


def test_a_product_before_the_tensor_takes_the_factor() -> None:
    """MatMul, bias, Relu, MatMul: weight and bias of the first."""
    w = Writer()
    k = np.where(np.arange(16) == 5, 100, 1).astype(np.float32)
    hidden = w.bias(w.matmul(w.input("x", (64, 8)), w.normal(8, 16) * k), w.normal(16) * k)
    hidden = w.node("Relu", hidden, name="hidden")
    model = w.model(y=w.matmul(hidden, w.normal(16, 4) / k[:, None]))
    changed = smoothed(model)
    assert smoothed_tensors(model) == {Ref("hidden"): 16}
    assert_same(model, changed, feeds_for(model))
    assert lowered(changed).sqnr_db > lowered(model).sqnr_db + 15


def test_the_scale_of_a_normalization_is_found_behind_a_product() -> None:
    """The product before it could take a factor too, were it not for the mean and the variance."""
    w = Writer()
    x = w.bias(w.matmul(w.input("x", (16, 8)), w.normal(8, 16)), w.normal(16))
    scale = np.where(np.arange(16) == 5, 100, 1).astype(np.float32)
    y = normalized(w, x, scale.reshape(1, -1), w.normal(1, 16), 1)
    model = w.model(y=w.matmul(y, w.normal(16, 4) / scale[:, None]))
    changed = smoothed(model)
    assert changed.graph["matmul"].inputs == model.graph["matmul"].inputs
    assert_same(model, changed, feeds_for(model))
    assert lowered(changed).sqnr_db > lowered(model).sqnr_db + 15


def test_dead_channels_keep_their_weights() -> None:
    model = attention_inputs(OUTLIERS)
    magnitude = magnitudes_of(model, [NORMALIZED], feeds_for(model))[NORMALIZED]
    magnitude[:4] = 0
    ((_, factor),) = smoothing(model, {NORMALIZED: magnitude}).items()
    assert (factor[:4] == 1.0).all()
    assert np.isfinite(factor).all()


def refused(reader: str) -> Model:
    """Something about a product's input forbids a factor."""
    w = Writer()
    x = w.input("x", (4, 16))
    scale = np.ones(16, np.float32)
    y = normalized(w, x, scale.reshape(1, -1), scale.reshape(1, -1), 1)
    if reader == "gelu":
        biased = w.bias(w.matmul(x, w.normal(16, 16)), w.normal(16))
        y = w.node("Mul", biased, w.node("Erf", biased), name="gelu")
    if reader == "clip":
        y = w.node("Relu6", y, name="clip")
    if reader == "one number":
        y = w.node("Mul", w.node("Tanh", x), w.const(3.0), name="scaled")
    outputs = {"y": w.matmul(y, w.normal(16, 8))}
    if reader == "residual":
        outputs["sum"] = w.node("AddV2", y, x, name="sum")
    if reader == "computed weight":
        outputs["scores"] = w.node("MatMul", x, y, attrs={"transpose_a": False, "transpose_b": True}, name="scores")
    if reader == "convolution":
        image = w.node("Reshape", y, w.const([4, 1, 1, 16]), attrs={"Tshape": INT32}, name="image")
        outputs["image"] = w.conv(image, w.normal(1, 1, 16, 4))
    if reader == "output":
        outputs["normalized"] = y
    if reader == "half of it":
        outputs["inverse"] = w.node("Tanh", Ref("mul"))
    return w.model(**outputs)


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        ("gelu", "erf (Erf) does not let a factor for each channel through"),
        ("clip", "clip:0 is clipped at 6, which a factor would move"),
        ("one number", "tanh (Tanh) does not let a factor for each channel through"),
        ("residual", "normalized:0 is read by sum (AddV2), which has no weight to take up a factor"),
        ("computed weight", "normalized:0 is read by scores (MatMul), which has no weight to take up a factor"),
        ("convolution", "normalized:0 is read by image (Reshape), which has no weight to take up a factor"),
        ("output", "normalized:0 is an output of the model"),
        ("half of it", "mul is also read by tanh"),
    ],
)
def test_why_a_tensor_is_not_smoothed(reader: str, reason: str) -> None:
    model = refused(reader)
    assert smoothed_tensors(model) == {}
    assert list(unsmoothed(model).values()) == [reason]


@given(
    st.dictionaries(st.integers(0, 31), st.floats(0.01, 1000), max_size=4),
    st.floats(0, 1),
    st.booleans(),
    st.floats(0.01, 100),
)
@settings(max_examples=25)
def test_the_function_stays_the_same(outliers: dict[int, float], alpha: float, per_channel: bool, claim: float) -> None:
    """Whatever calibration saw."""
    model = attention_inputs(outliers)
    feeds = feeds_for(model)
    claimed = {ref: m * claim for ref, m in magnitudes_of(model, [NORMALIZED], feeds).items()}
    assert_same(model, smooth(model, claimed, alpha=alpha, per_channel=per_channel), feeds)
