"""Export proves what it did on random input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_functions import convolution, images

import eightfold as ef
from eightfold.errors import ModelError
from eightfold.graph.edit import Edit
from eightfold.graph.model import Model
from eightfold.passes.context import Context
from eightfold.quantization import export as module
from eightfold.quantization.export import largest_difference
from eightfold.tf.session import Runner


def planted(factor: float) -> Any:
    """A pass with a fault: every bias is multiplied."""

    def scale_bias(model: Model, context: Context) -> Model:
        edit = Edit(model)
        for node in model.graph:
            value = model.graph.constant(node.inputs[1]) if node.op == "BiasAdd" else None
            if value is not None:
                scaled = edit.const(f"{node.name}/scaled", value * np.float32(factor))
                edit.change(node.but(inputs=(node.inputs[0], scaled)))
        return edit.done()

    return scale_bias


def test_a_fault_in_a_pass_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORT", (*module.EXPORT, planted(1.1)))
    with pytest.raises(ModelError, match="export changed output 'y' of signature 'serving_default' by 0.0"):
        ef.export(convolution())


def test_the_last_bits_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORT", (*module.EXPORT, planted(1 + 1e-5)))
    assert ef.export(convolution()).default.outputs["y"]


def test_every_signature_is_proven(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    net = tf.Module()
    net.first = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((None,), name="x")])
    net.second = convolution()
    tf.saved_model.save(net, str(tmp_path), signatures={"serving_default": net.first, "second": net.second})
    ef.export(tmp_path)
    monkeypatch.setattr(module, "EXPORT", (*module.EXPORT, planted(2.0)))
    with pytest.raises(ModelError, match="of signature 'second'"):
        ef.export(tmp_path)


def test_an_output_that_is_random_cannot_be_proven() -> None:
    function = tf.function(
        lambda x: {"noisy": x + tf.random.normal(tf.shape(x)), "still": x * 3},
        input_signature=[tf.TensorSpec((None, 4), name="x")],
    )
    model = ef.export(function)
    assert "RandomStandardNormal" in {node.op for node in model.graph}


def test_an_exported_model_is_taken_as_it_is() -> None:
    model = ef.export(convolution())
    again = ef.export(model)
    assert [node.name for node in again.graph] == [node.name for node in model.graph]


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int | None]] = []
    ef.export(convolution(), progress=lambda *stage: told.append(stage))
    passes = len(module.EXPORT)
    assert told == [("read", 0, None), *(("export", i, passes) for i in range(passes + 1))]


def test_the_exported_model_computes_the_same() -> None:
    function, x = convolution(), images(2)
    model = ef.export(function)
    with Runner.of(model) as run:
        (y,) = run([model.default.outputs["y"].ref], {model.default.inputs["x"].ref: x})
    np.testing.assert_allclose(y, function(x)["y"], atol=1e-6)


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ([1.0, -2.0], [1.0, -2.0], 0),
        ([1.0, -2.0], [1.1, -2.0], 0.05),
        ([0.0, 0.0], [0.0, 0.5], 0.5),
        ([1.0, np.inf], [1.0, np.inf], 0),
        ([1.0, np.nan], [1.0, np.nan], 0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
        ([], [], 0),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.25),
        ([True, False], [True, False], 0),
        (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object), 0.5),
        (np.array([1 + 1j]), np.array([1 + 1j]), 0),
    ],
)
def test_largest_difference(expected: Any, actual: Any, difference: float) -> None:
    assert largest_difference(np.asarray(expected), np.asarray(actual)) == pytest.approx(difference)


def test_only_the_default_signature_is_quantized(tmp_path: Any) -> None:
    """No data is seen for the others; they stay float, and say so."""
    net = tf.Module()
    net.first, net.second = convolution(), convolution(filters=4)
    other = tf.function(lambda z: {"z": net.second(z)["y"]}, input_signature=[tf.TensorSpec((None, 8, 8, 3), name="z")])
    tf.saved_model.save(net, str(tmp_path), signatures={"serving_default": net.first, "other": other})
    plan = ef.plan(ef.export(tmp_path))
    assert len(plan.steps) == 1
    assert "only other signatures than 'serving_default' compute it" in {r.reason for r in plan.refusals}


def test_the_report_names_the_origin() -> None:
    model = ef.export(convolution())
    assert model.origin.startswith("function ")
    assert ef.export(replace(model, origin="mine")).origin == "mine"
