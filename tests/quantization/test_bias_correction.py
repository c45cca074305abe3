"""Biases make up for the mean error of each layer, one layer after the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import eightfold as ef
from eightfold.calibration.means import channel_means
from eightfold.calibration.preactivation import biased_sum, float_preactivation
from eightfold.graph.encoding import Code
from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.quantization import staged_run
from eightfold.quantization.bias_correction import correct_bias
from eightfold.quantization.calibrate import make_runner
from eightfold.quantization.correct import correct
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.plan import Plan
from eightfold.quantization.staged_run import StagedRun
from eightfold.rewrites.correction import Correction, Corrections
from eightfold.tf.session import Runner

pytestmark = pytest.mark.int8

POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"VALID", "data_format": b"NHWC"}


class Case:
    """A float model, planned and calibrated on positive data."""

    def __init__(self, model: Model, shape: tuple[int, ...], **recipe: Any) -> None:
        self.model = model
        self.plan: Plan = ef.plan(model, ef.Recipe(fallback=False, **recipe))
        self.data, self.held = (
            np.random.default_rng(seed).uniform(0, 1, (count, *shape)).astype(np.float32)
            for seed, count in ((0, 64), (1, 32))
        )
        self.ranges: dict[Ref, Range] = ef.calibrate(model, self.plan, self.data)

    def correct(self) -> Corrections:
        return correct(self.model, self.plan, self.ranges, self.data)

    def sqnr_db(self, corrections: Corrections | None = None) -> float:
        """Of the output, on data that nothing was learned from."""
        fast = ef.lower(self.model, self.plan, self.ranges, corrections)
        (found,) = fast(x=self.held).values()
        return sqnr_db(self.expected, found)

    @cached_property
    def expected(self) -> Array:
        """The float output."""
        with Runner.of(self.model) as run:
            return run(self.model.outputs, {Ref("x"): self.held})[0]

    @cached_property
    def expected_means(self) -> Mapping[Ref, Array]:
        """Of each layer before its activation, in the float graph."""
        ranks = {
            ref: 4 if "conv" in step.match.named else 2
            for step in self.plan.steps
            if (ref := float_preactivation(step.match))
        }
        (means,) = channel_means(self.model.graph, ranks, [{Ref("x"): self.data}], make_runner(self.model))
        return means

    def mean_errors(self, corrections: Corrections | None = None) -> dict[str, Array]:
        """By layer, the mean error of each channel before the activation, on the data learned from."""
        fast = ef.lower(self.model, self.plan, self.ranges, corrections).model
        encodings = choose_encodings(self.plan, self.ranges)
        references = {step.name: ref for step in self.plan.steps if (ref := float_preactivation(step.match))}
        sums = {name: found for name in references if (found := biased_sum(fast.graph, name))}
        errors = {}
        with StagedRun(fast, sums, [{Ref("x"): self.data}]) as run:
            for group in run.groups:
                (means,) = run.means_before_bias(group)
                for name in group:
                    offset = encodings[Ref(name)].offset if sums[name].holds_offset else 0.0
                    errors[name] = means[name] + run.biases[name] - offset - self.expected_means[references[name]]
        return errors

    def all_at_once(self) -> Corrections:
        """What a method without order would do: each bias makes up for the error of the uncorrected graph."""
        return {name: Correction(bias=-error) for name, error in self.mean_errors().items()}


def uneven(w: Writer, *shape: int) -> Array:
    """A filter with a one in its middle and 0.4 of a step elsewhere, which is rounded down to nothing."""
    weight = np.full(shape, 0.4 / 127)
    weight[shape[0] // 2, shape[1] // 2] = np.eye(shape[2], shape[3]) if shape[3] > 1 else 1
    return (weight * np.abs(1 + w.normal(shape[2], 1, scale=0.1))).astype(np.float32)


def depthwise_chain(layers: int) -> Case:
    w = Writer()
    y = w.input("x", (None, 8, 8, 8))
    for _ in range(layers):
        y = w.conv(y, uneven(w, 5, 5, 8, 1), depthwise=True)
        y = w.node("Relu", w.bias(y, w.normal(8, scale=0.01)))
    return Case(w.model(y=y), (8, 8, 8))


def residual() -> Case:
    """A shortcut, a projection, a pool, a branch that clips, and a matrix product behind it all."""
    w = Writer()
    x = w.input("x", (None, 8, 8, 8))
    a = w.node("Relu", w.bias(w.conv(x, uneven(w, 3, 3, 8, 8)), w.normal(8, scale=0.1)))
    b = w.node("Relu6", w.bias(w.conv(a, uneven(w, 3, 3, 8, 1), depthwise=True), w.normal(8, scale=0.1)))
    c = w.bias(w.conv(b, w.normal(1, 1, 8, 8, scale=0.4)), w.normal(8))
    d = w.node("Relu", w.node("AddV2", c, a))
    e = w.node(
        "AddV2", w.conv(d, w.normal(3, 3, 8, 16, scale=0.1), strides=2), w.conv(d, w.normal(1, 1, 8, 16), strides=2)
    )
    pooled = w.node("MaxPool", w.node("Relu", e), attrs=POOL)
    flat = w.node("Reshape", pooled, w.const([-1, 64]), attrs={"Tshape": DType("int32")})
    return Case(w.model(y=w.bias(w.matmul(flat, w.normal(64, 5, scale=0.2)), w.normal(5))), (8, 8, 8))


def test_weights_rounded_down_need_it() -> None:
    """24 of 25 weights of a channel are lost to rounding: their sum is a tenth of the result."""
    case = depthwise_chain(5)
    corrections = case.correct()
    before, after = case.sqnr_db(), case.sqnr_db(corrections)
    assert before < 14
    assert after > before + 9
    assert max(np.abs(error).max() for error in case.mean_errors().values()) > 0.2
    assert max(np.abs(error).max() for error in case.mean_errors(corrections).values()) < 1e-4


def test_the_order_matters() -> None:
    """Every layer of ten makes up for the same error of the first one: the sum of it is worse than no correction."""
    case = depthwise_chain(10)
    without, at_once, in_order = (case.sqnr_db(c) for c in ({}, case.all_at_once(), case.correct()))
    assert at_once < without - 8
    assert in_order > without + 8


@pytest.mark.parametrize("tensorflow", ["2.16", "2.17"])
def test_matrix_products(tensorflow: str) -> None:
    """In both forms: with a float result, and fused with what follows it."""
    w = Writer()
    y = w.input("x", (None, 32))
    for activation in ("Relu", "Sigmoid", ""):
        weight = np.full((32, 32), 0.4 / 127, np.float32) + np.eye(32, dtype=np.float32)
        y = w.bias(w.matmul(y, weight, transpose_b=activation == "Relu"), w.normal(32, scale=0.1))
        y = w.node(activation, y) if activation else y
    case = Case(w.model(y=y), (32,), min_tensorflow=tensorflow)
    assert ("_QuantizedMatMul" in {step.rewrite.int8_op for step in case.plan.steps}) == (tensorflow == "2.17")
    corrections = case.correct()
    assert set(corrections) == {step.name for step in case.plan.steps}
    assert case.sqnr_db(corrections) > case.sqnr_db() + 10
    assert max(np.abs(error).max() for error in case.mean_errors(corrections).values()) < 1e-5


def test_sums_and_pools_between_the_layers() -> None:
    case = residual()
    assert {step.rewrite.name for step in case.plan.steps} >= {"conv_add_relu", "maxpool", "matmul"}
    corrections = case.correct()
    before, after = case.mean_errors(), case.mean_errors(corrections)
    assert set(corrections) == set(before)
    assert max(np.abs(error).max() for error in before.values()) > 0.05
    assert max(np.abs(error).max() for error in after.values()) < 1e-3
    assert case.sqnr_db(corrections) > case.sqnr_db() + 3


def test_a_layer_in_float_between_others() -> None:
    """Its tensors are held between the stages as well, and what follows it makes up for the error that it hands on."""
    case = depthwise_chain(3)
    middle = case.plan.steps[1].name
    case.plan = case.plan.without(middle)
    corrections = case.correct()
    assert middle not in corrections
    assert len(corrections) == 2
    assert case.sqnr_db(corrections) > case.sqnr_db() + 5


def test_what_was_learned_before_stays() -> None:
    """The codes are used, and a bias is added to."""
    case = depthwise_chain(1)
    (name,) = case.correct()
    codes = np.ones((5, 5, 8, 1), np.int8)
    given = {name: Correction(codes, np.full(8, 5.0)), "other": Correction(bias=np.ones(2))}
    found = correct_bias(case.model, case.plan, case.ranges, lambda: [{Ref("x"): case.data}], given, lambda *_: None)
    assert found["other"] is given["other"]
    assert found[name].codes is codes
    assert max(np.abs(error).max() for error in case.mean_errors(found).values()) < 1e-5
    plain = case.mean_errors({name: Correction(codes)})[name]
    np.testing.assert_allclose(found[name].bias, -plain, rtol=1e-3)  # not 5 more, not 5 less


@pytest.mark.vnni  # the weights take 8 bits to be what they are
def test_nothing_to_correct() -> None:
    """Codes that stand for exactly what the float graph computes."""
    w = Writer()
    weight = np.arange(-120, 120, 15, dtype=np.float32).reshape(1, 1, 4, 4) / 127
    weight[..., 0, :] = 1
    y = w.conv(w.input("x", (None, 4, 4, 4)), weight, padding="VALID")
    case = Case(w.model(y=w.node("Relu", y)), (4, 4, 4))
    case.data[:] = np.rint(case.data * 255) / 255
    case.ranges = {ref: Range(0.0, 1.0) for ref in case.ranges}
    (correction,) = case.correct().values()
    assert correction.bias is not None
    assert np.abs(correction.bias).max() < 1e-6


def test_nothing_that_could_be_corrected() -> None:
    case = depthwise_chain(1)
    asked = case.plan.recipe
    case.plan = ef.plan(case.model, ef.Recipe(bias_correction=False))
    assert case.correct() == {}
    case.plan = ef.plan(case.model, asked).without(case.plan.steps[0].name)
    assert case.correct() == {}


def test_batches_are_let_go_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    case = depthwise_chain(4)
    monkeypatch.setattr(staged_run, "_HELD_BYTES", 1)
    few = correct(case.model, case.plan, case.ranges, case.data, batch_size=4)
    monkeypatch.undo()
    first = correct(case.model, case.plan, case.ranges, case.data[:4], batch_size=4)
    for name in list(first)[1:]:  # the first layer reads the input, which was there in any case
        np.testing.assert_allclose(few[name].bias, first[name].bias, atol=2e-2)
    assert case.sqnr_db(few) > case.sqnr_db() + 5


def test_batches_count_by_their_size() -> None:
    case = depthwise_chain(2)
    whole = correct(case.model, case.plan, case.ranges, case.data[:20], batch_size=20)
    parts = correct(case.model, case.plan, case.ranges, case.data[:20], batch_size=16)
    for name, correction in whole.items():
        np.testing.assert_allclose(parts[name].bias, correction.bias, atol=1e-6)


def test_a_layer_that_sees_nothing_in_some_batches() -> None:
    """As behind a detector that finds no box: rows that are large enough are picked, and sometimes none is."""
    first, second = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)

    def function(x: Any) -> dict[str, Any]:
        rows = tf.boolean_mask(x, tf.reduce_max(x, 1) > 0.5)
        return {"y": tf.matmul(tf.nn.relu(tf.matmul(rows, first)), second)}

    case = Case(ef.export(tf.function(function, input_signature=[tf.TensorSpec((None, 8), name="x")])), (8,))
    case.data[:32] *= 0.4  # the first batch
    some = case.correct()
    assert len(some) == len(case.plan.steps) == 2
    assert all(np.isfinite(correction.bias).all() and np.any(correction.bias) for correction in some.values())
    case.data *= 0.4
    none = case.correct()
    assert len(none) == 2
    assert not any(np.any(correction.bias) for correction in none.values())


def test_an_offset_of_the_result_is_no_error() -> None:
    w = Writer()
    x = w.input("x", (None, 6, 6, 8))
    y = w.conv(x, w.normal(1, 1, 8, 8), padding="VALID")
    case = Case(w.model(y=w.conv(y, w.normal(1, 1, 8, 8), padding="VALID")), (6, 6, 8))
    assert Code.OFFSET in {encoding.code for encoding in choose_encodings(case.plan, case.ranges).values()}
    assert (
        max(np.abs(correction.bias).max() for correction in case.correct().values() if correction.bias is not None)
        < 0.1
    )
    assert case.sqnr_db(case.correct()) > case.sqnr_db()


def test_progress_counts_the_layers() -> None:
    case, told = depthwise_chain(3), []
    correct(case.model, case.plan, case.ranges, case.data, progress=lambda *stage: told.append(stage))
    assert told == [("correct", done, 3) for done in range(4)]


@given(seed=st.integers(0, 1000), layers=st.integers(1, 4), bits=st.sampled_from([7, 8]))
@settings(max_examples=8)
def test_no_layer_has_a_larger_mean_error_than_before(seed: int, layers: int, bits: int) -> None:
    w, random = Writer(seed), np.random.default_rng(seed)
    y = w.input("x", (None, 6, 6, 4))
    for _ in range(layers):
        size, depthwise = int(random.choice([1, 3])), bool(random.integers(2))
        z = w.conv(y, w.normal(size, size, 4, 1 if depthwise else 4, scale=0.6 / size), depthwise=depthwise)
        z = w.bias(z, w.normal(4, scale=0.2))
        z = w.node("AddV2", z, y) if random.integers(2) and _ else z
        y = w.node(str(random.choice(["Relu", "Relu6"])), z)
    case = Case(w.model(y=y), (6, 6, 4), weight_bits=bits)
    before, after = case.mean_errors(), case.mean_errors(case.correct())
    for name, error in before.items():
        assert np.all(np.abs(after[name]) <= np.abs(error) + 1e-5)
