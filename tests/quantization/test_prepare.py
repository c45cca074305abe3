"""Equalization and SmoothQuant with real data, up to the 8-bit model that TensorFlow runs."""

from __future__ import annotations

import numpy as np
import pytest

import eightfold as ef
from channel_nets import attention_inputs, depthwise_net
from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.graph.model import Model
from eightfold.metrics import sqnr_db
from eightfold.quantization.prepare import prepare
from eightfold.tf.session import Runner
from lowering import COARSER, outputs_of

EQUALIZE = ef.Recipe(equalize=True, bias_correction=False)
SMOOTH = ef.Recipe(smooth=True, bias_correction=False)
OUTLIERS = {3: 80.0, 17: 50.0}


def pictures(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 12, 12, 3)).astype(np.float32)


def tokens(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 10, 32)).astype(np.float32)


def outputs(model: Model, data: Array) -> list[Array]:
    with Runner.of(model) as run:
        return run(outputs_of(model), {model.inputs[0]: data})


def worst_sqnr(model: Model, recipe: ef.Recipe, calibration: Array, held: Array, reference: Model) -> float:
    """In dB, of a model quantized, against the outputs of the model that it was made from."""
    plan = ef.plan(model, recipe)
    quantized = ef.lower(model, plan, ef.calibrate(model, plan, calibration))
    pairs = zip(outputs(reference, held), outputs(quantized.model, held), strict=True)
    return min(sqnr_db(expected, actual) for expected, actual in pairs)


@pytest.mark.int8
@pytest.mark.parametrize("per_channel", [True, False])
def test_equalization_wins_back_unequal_channels(per_channel: bool) -> None:
    """The lesson of MobileNet: one layer's channels of 1:1000 in one 8-bit tensor lose everything."""
    recipe = ef.Recipe(equalize=True, per_channel=per_channel, bias_correction=False)
    model, calibration, held = depthwise_net(), pictures(32), pictures(16, seed=1)
    prepared = prepare(model, recipe, calibration)
    before = worst_sqnr(model, recipe, calibration, held, model)
    after = worst_sqnr(prepared, recipe, calibration, held, model)
    assert before < 5
    assert after > 30 - 20 * np.log10(COARSER)


@pytest.mark.int8
def test_smoothing_wins_back_outliers() -> None:
    model, calibration, held = attention_inputs(OUTLIERS), tokens(32), tokens(16, seed=1)
    prepared = prepare(model, SMOOTH, calibration)
    before = worst_sqnr(model, SMOOTH, calibration, held, model)
    after = worst_sqnr(prepared, SMOOTH, calibration, held, model)
    assert before < 15
    assert after > 38


def test_the_prepared_model_computes_the_same_under_the_same_names() -> None:
    model = depthwise_net()
    prepared = prepare(model, EQUALIZE, pictures(32))
    (expected,), (actual,) = outputs(model, pictures(32)), outputs(prepared, pictures(32))
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    names = {node.name for node in model.graph if node.op != "Const"}
    assert {node.name for node in prepared.graph if node.op != "Const"} == names
    assert prepared.signatures == model.signatures


def test_what_was_done_is_noted() -> None:
    done = prepare(depthwise_net(), EQUALIZE, pictures(8))
    assert done.notes == ("equalized between convolutions: 4 tensors: act:0, act_1:0, act_2:0, and 1 more",)
    both = prepare(attention_inputs(OUTLIERS), ef.Recipe(equalize=True, smooth=True), tokens(8))
    assert both.notes == (
        "equalized between convolutions: nothing that would pay",
        "smoothed before matrix products: 1 tensor: normalized:0",
    )


def test_nothing_asked_for_is_nothing_done() -> None:
    model = depthwise_net()
    assert prepare(model, ef.Recipe(), None) is model


def test_progress_counts_examples() -> None:
    told: list[tuple[str, int, int | None]] = []
    prepare(depthwise_net(), EQUALIZE, pictures(8), batch_size=4, progress=lambda *step: told.append(step))
    assert told == [("prepare", 0, 8), ("prepare", 4, 8), ("prepare", 8, 8)]


def test_data_that_breaks_the_model_is_an_error() -> None:
    broken = pictures(4)
    broken[2, 3, 3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        prepare(depthwise_net(), EQUALIZE, broken)
