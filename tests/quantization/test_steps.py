"""quantize, and the steps one by one: what they take, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_functions import LENIENT, convolution, images, weights

import eightfold as ef
from eightfold.errors import DataError, ModelError
from lowering import COARSER

pytestmark = pytest.mark.int8


def closeness(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def test_the_steps_one_by_one_give_what_quantize_gives() -> None:
    function, data, x = convolution(), images(24), images(2, seed=9)
    model = ef.export(function)
    plan = ef.plan(model, LENIENT)
    ranges = ef.calibrate(model, plan, data)
    assert set(ranges) == set(plan.tensors)
    fast = ef.lower(model, plan, ranges)
    assert closeness(fast(x=x)["y"], function(x)["y"]) < 0.02
    whole = ef.quantize(function, data, recipe=LENIENT, verify=False)
    assert closeness(whole(x=x)["y"], function(x)["y"]) < 0.02
    assert whole.report.speed == ()
    assert whole.report.fidelity is None


def test_a_node_given_back_needs_no_new_calibration() -> None:
    model = ef.export(convolution())
    plan = ef.plan(model)
    ranges = ef.calibrate(model, plan, images(8))
    left = ef.lower(model, plan.without(plan.steps[0].name), ranges)
    assert left.report.counts == {}
    assert ("kept in float on request") in {reason for _, _, reason in left.report.refusals}


def test_ranges_of_another_plan() -> None:
    model = ef.export(convolution())
    with pytest.raises(DataError, match="the ranges lack .*; calibrate with this plan"):
        ef.lower(model, ef.plan(model), {})


@pytest.mark.parametrize("given", ["without data", "with data"])
def test_dynamic(given: str) -> None:
    function, x = convolution(), images(2, side=11, seed=3)
    data = images(10) if given == "with data" else None
    result = ef.quantize(function, data, dynamic=True, recipe=LENIENT)
    assert (result.report.mode, result.ranges, result.report.calibration_samples) == ("dynamic", None, 0)
    assert (result.report.fidelity is None) == (data is None)
    for scale in (1, 50):  # no range is frozen
        assert closeness(result(x=x * scale)["y"], function(x * scale)["y"]) < 0.02 * COARSER


@pytest.mark.parametrize(
    "data",
    [
        images(20),
        {"x": images(20)},
        (images(20), np.zeros(20)),
        list(images(20)),
        np.array_split(images(20), 3),
        tf.data.Dataset.from_tensor_slices(images(20)).batch(6),
        lambda: iter(np.array_split(images(20), 3)),
    ],
    ids=["array", "dict", "labelled", "examples", "batches", "tf.data", "function"],
)
def test_forms_of_data(data: Any) -> None:
    report = ef.quantize(convolution(), data, recipe=LENIENT, batch_size=4).report
    assert report.calibration_samples == 16
    assert report.counts == {"_FusedQuantizedConv2D": 1}


def test_data_on_disk(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=images(20), y=np.zeros(20))
    report = ef.quantize(convolution(), tmp_path / "data.npz", recipe=LENIENT, samples=10).report
    assert report.calibration_samples == 8


def bad(index: tuple[int, ...], value: float) -> Any:
    data = images(20)
    data[index] = value
    return data


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (None, "calibration needs data: a sample of the model's real input; or ask for dynamic ranges"),
        (images(0), "the data set is empty"),
        (iter([]), "the data set is empty"),
        (images(20)[..., :2], "expected 'x' float32.*, received float32"),
        (images(20)[0, 0, 0], "expected 'x' float32"),
        (images(20).astype(str), "takes float32, and the data is <U32"),
        (images(20).astype(complex), "takes float32, and the data is complex128"),
        ({"image": images(20)}, "missing: x; unknown: image .the model has: x."),
        (bad((3, 0, 0, 0), np.nan), "holds NaN .batch 0, example 3 of it."),
        (bad((3, 0, 0, 0), -np.inf), "holds Inf"),
        ("no-such-file.npz", "there is no file or folder no-such-file.npz"),
        (object(), "data cannot be read from a object"),
    ],
)
def test_data_that_does_not_fit(data: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        ef.quantize(convolution(), data, recipe=LENIENT)


def test_activations_that_overflow() -> None:
    function = tf.function(
        lambda x: {"y": tf.nn.conv2d(tf.exp(x * 1000), weights(3, 3, 3, 8), 1, "SAME")},
        input_signature=[tf.TensorSpec((None, 8, 8, 3), name="x")],
    )
    with pytest.raises(DataError, match="becomes NaN or infinite"):
        ef.quantize(function, images(20), recipe=LENIENT)


def test_a_model_that_is_none() -> None:
    with pytest.raises(ModelError, match="there is no model at nowhere"):
        ef.quantize("nowhere", images(4))


@pytest.mark.parametrize(("given", "samples", "held_back"), [(4, 4, False), (7, 4, False), (8, 4, True), (41, 8, True)])
def test_a_fixed_batch(given: int, samples: int, *, held_back: bool) -> None:
    """Only full batches of 4 can be run; both parts of the data need one."""
    function = convolution(batch=4)
    result = ef.quantize(function, images(given), recipe=LENIENT, batch_size=32)
    assert result.report.fidelity is not None
    assert (result.report.fidelity.samples, result.report.fidelity.held_back) == (samples, held_back)
    assert result.report.speed[0].batch_size == 4
    assert closeness(result(x=images(4))["y"], function(images(4))["y"]) < 0.02


def test_too_few_examples_for_a_fixed_batch() -> None:
    with pytest.raises(DataError, match="batches of exactly 4 examples, and the data has fewer"):
        ef.quantize(convolution(batch=4), images(3), recipe=LENIENT)


def test_an_input_without_a_batch_axis() -> None:
    """Its value goes with all examples of a batch, and examples of another value are not put into it."""
    function = tf.function(
        lambda x, gain: {"y": tf.nn.relu(tf.nn.conv2d(x * gain, weights(3, 3, 3, 8), 1, "SAME"))},
        input_signature=[tf.TensorSpec((None, 8, 8, 3), name="x"), tf.TensorSpec((), name="gain")],
    )

    def batches() -> Iterator[dict[str, Any]]:
        for index in range(10):
            yield {"x": images(2, seed=index), "gain": np.float32(1 + 9 * (index == 7))}

    result = ef.quantize(function, batches, recipe=LENIENT)
    x = images(2, seed=7)
    found = result(x=x, gain=np.float32(10))["y"]
    assert closeness(found, function(x, 10.0)["y"]) < 0.02


def test_a_model_with_nothing_to_quantize(tmp_path: Path) -> None:
    function = tf.function(lambda x: {"y": tf.sin(x)}, input_signature=[tf.TensorSpec((None, 4), name="x")])
    x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    result = ef.quantize(function, x)
    assert result.report.steps == ()
    assert result.report.refusals[0][1:] == ("Sin", "stock TensorFlow has no 8-bit kernel for Sin")
    np.testing.assert_allclose(result(x=x)["y"], np.sin(x), atol=1e-6)
    assert result.save(tmp_path / "net").is_dir()


def test_a_model_that_is_8_bit_already(tmp_path: Path) -> None:
    once = ef.quantize(convolution(), images(20), recipe=LENIENT)
    twice = ef.quantize(once.save(tmp_path / "net"), images(20))
    assert twice.report.steps == ()
    assert (
        "the model has 8-bit ops already (Relu, _FusedQuantizedConv2D); was the float model meant?"
        in twice.report.notes
    )
    x = images(2)
    np.testing.assert_array_equal(twice(x=x)["y"], once(x=x)["y"])


def test_progress_names_every_stage_in_order() -> None:
    told: list[tuple[str, int, int | None]] = []
    ef.quantize(convolution(), images(20), recipe=LENIENT, progress=lambda *stage: told.append(stage))
    assert list(dict.fromkeys(name for name, _, _ in told)) == ["read", "export", "calibrate", "correct", "verify"]
    assert [done for name, done, _ in told if name == "calibrate"] == [0, 16, 32]  # two passes: histograms


def test_a_model_that_draws_random_numbers_says_so() -> None:
    kernel = weights(3, 3, 3, 8)
    function = tf.function(
        lambda x: {"y": tf.nn.conv2d(x + tf.random.uniform(tf.shape(x)), kernel, 1, "SAME")},
        input_signature=[tf.TensorSpec((None, 8, 8, 3), name="x")],
    )
    assert "draws random numbers" in ef.quantize(function, images(20), recipe=LENIENT).report.notes[0]
    notes = ef.quantize(convolution(), images(20), recipe=LENIENT).report.notes
    assert not [note for note in notes if "weights have 7 bits" not in note]


def test_a_pattern_that_finds_nothing_is_named() -> None:
    recipe = ef.Recipe(fallback=False, exclude=("^hed/", "Relu"), overrides=(ef.Override(match="lgits", keep="fp32"),))
    notes = ef.quantize(convolution(), images(8), recipe=recipe, verify=False).report.notes
    assert [note for note in notes if "finds no node" in note] == [
        "the recipe's exclude = '^hed/' finds no node of the model",
        "the recipe's override match = 'lgits' finds no node of the model",
    ]
