from __future__ import annotations

import math

import numpy as np
import pytest

from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.writer import Writer
from eightfold.quantization.analysis import BARS, EXACT_DB, Analysis, Distribution, StepStats, TensorStats, decibels
from eightfold.quantization.analyze import analyze
from eightfold.quantization.calibrate import calibrate
from eightfold.quantization.plan import make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.steps import lower
from eightfold.quantization.weight_stats import weight_stats
from eightfold.tf.session import infer
from lowering import COARSER


def depthwise_net() -> Model:
    """conv ─ depthwise, whose first channel is a thousand times as large as the others ─ conv with a float result."""
    w = Writer()
    x = w.input("x", (4, 8, 8, 8))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)), name="first")
    unequal = w.normal(3, 3, 8, 1, scale=0.2) * np.array([1000, *[1] * 7], np.float32)[:, None]
    y = w.node("Relu", w.bias(w.conv(y, unequal, depthwise=True), np.zeros(8)), name="unequal")
    y = w.node("Relu", w.conv(y, w.normal(1, 1, 8, 4, scale=0.2)), name="last")
    return w.model(y=w.node("Softplus", y, name="softplus"))


X = np.random.default_rng(0).random((4, 8, 8, 8), dtype=np.float32)


def quantized(model: Model) -> Quantized:
    plan = make_plan(model, infer(model.graph), Recipe(observer="minmax"))
    return lower(model, plan, calibrate(model, plan, X, batch_size=4))


@pytest.fixture(scope="module")
def result() -> Quantized:
    return quantized(depthwise_net())


@pytest.fixture(scope="module")
def analysis(result: Quantized) -> Analysis:
    return analyze(result, {"x": X})


def test_counts_are_kept_to_within_a_tenth() -> None:
    counts = np.array([0, 1, 7, 1000, 123456] + [0] * (BARS - 5))
    kept = Distribution.of(counts, Range(-1.0, 2.0))
    assert (kept.lo, kept.hi, kept.counts[0]) == (-1.0, 2.0, 0.0)
    assert kept.counts[1:5] == pytest.approx((1, 7, 1000, 123456), rel=0.05)


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [(100.0, 1.0, 20.0), (1.0, 0.0, EXACT_DB), (0.0, 1.0, None), (math.nan, 1.0, None), (1.0, math.inf, None)],
)
def test_decibels(signal: float, noise: float, expected: float | None) -> None:
    assert decibels(signal, noise) == expected


@pytest.mark.int8
def test_a_packed_analysis_is_the_same_to_four_digits(analysis: Analysis) -> None:
    again = Analysis.unpack(analysis.pack())
    assert again.steps.keys() == analysis.steps.keys()
    assert again.tensors["first:0"].values.levels == analysis.tensors["first:0"].values.levels
    assert again.steps["last"].own_db == pytest.approx(analysis.steps["last"].own_db, rel=1e-3)
    assert Analysis.unpack(again.pack()) == again


@pytest.mark.int8
def test_one_scale_destroys_unequal_channels_and_one_a_channel_does_not(analysis: Analysis) -> None:
    weight = analysis.steps["unequal"].weight
    assert weight is not None
    assert (weight.channels, weight.per_channel) == (8, True)
    assert weight.limits[0] > 500 * weight.limits[1]
    assert weight.tensor_db < 5
    assert weight.channel_db > 40
    plain = analysis.steps["first"].weight
    assert plain is not None
    assert abs(plain.tensor_db - plain.channel_db) < 6


@pytest.mark.int8
def test_the_error_of_a_step_in_the_model_is_that_of_its_result(result: Quantized, analysis: Analysis) -> None:
    first, last = analysis.steps["first"], analysis.steps["last"]
    assert first.own_db == pytest.approx(first.total_db, abs=0.01)  # nothing in 8 bits comes before it
    assert first.own_db is not None
    assert 30 < first.own_db < 60
    assert last.total_db is not None
    assert last.own_db is not None
    assert last.total_db < last.own_db


@pytest.mark.int8
def test_what_was_seen_lies_in_what_codes_cover(analysis: Analysis) -> None:
    assert set(analysis.tensors) == {"x:0", "first:0", "unequal:0", "last:0"}
    for tensor in analysis.tensors.values():
        assert isinstance(tensor, TensorStats)
        assert tensor.lo <= tensor.values.lo + 1e-6
        assert tensor.values.hi <= tensor.hi * 1.001
        assert sum(tensor.values.counts) == pytest.approx(X.size if tensor.values.hi else 0, rel=0.6)
    assert analysis.tensors["first:0"].encoding == "unsigned"
    assert analysis.steps["first"].reads == ("x:0",)


@pytest.mark.int8
def test_every_step_has_its_time(analysis: Analysis) -> None:
    for step in analysis.steps.values():
        assert isinstance(step, StepStats)
        assert 0 < step.int8_ms <= analysis.int8_ms
        assert 0 < step.float_ms <= analysis.float_ms
    assert "softplus" in analysis.rest_ms
    assert analysis.samples == 4


@pytest.mark.int8
def test_a_tensor_that_is_all_zero_is_no_obstacle() -> None:
    w = Writer()
    y = w.node("Relu", w.conv(w.input("x", (4, 8, 8, 8)), -np.abs(w.normal(3, 3, 8, 8))), name="dead")
    y = w.node("Relu", w.conv(y, w.normal(1, 1, 8, 4)), name="last")
    found = analyze(quantized(w.model(y=w.node("Softplus", y))), {"x": X})
    assert found.steps["dead"].own_db is None
    assert sum(found.tensors["dead:0"].values.counts) == pytest.approx(X.size, rel=0.1)


@pytest.mark.int8
def test_a_dynamic_model_has_no_encodings_to_look_at(result: Quantized) -> None:
    with pytest.raises(ValueError, match="expected a calibrated one"):
        analyze(lower(result.source, result.plan), {"x": X})


def test_a_step_that_multiplies_by_nothing_has_no_weight() -> None:
    w = Writer()
    y = w.node("Relu", w.conv(w.input("x", (2, 8, 8, 8)), w.normal(1, 1, 8, 8)), name="relu")
    attrs = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"VALID"}
    model = w.model(y=w.node("MaxPool", y, attrs=attrs, name="pool"))
    plan = make_plan(model, infer(model.graph), Recipe())
    found = {step.name: weight_stats(plan, step, 8) for step in plan.steps}
    assert found["pool"] is None
    assert found["relu"] is not None


def test_a_tensor_that_one_step_adds_into_and_another_reads() -> None:
    """By themselves, both quantize it; merged by TensorFlow, the second would read what the first has overwritten."""
    w = Writer()
    x = w.input("x", (4, 8, 8, 8))
    stem = w.node("Relu", w.conv(x, w.normal(1, 1, 8, 8, scale=0.4)), name="stem")
    deep = w.node("Relu", w.conv(stem, w.normal(3, 3, 8, 8, scale=0.2)), name="deep")
    linear = w.conv(deep, w.normal(3, 3, 8, 8, scale=0.2))
    total = w.node("Relu", w.node("AddV2", linear, stem), name="total")
    result = quantized(w.model(y=total))
    for _ in range(5):
        steps = analyze(result, {"x": X}).steps
        assert min(steps[name].own_db or 0.0 for name in ("stem", "deep", "total")) > 38 - 20 * np.log10(COARSER)
