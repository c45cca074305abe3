"""Activations: those that the kernels clip for nothing, and those that stay float between 8-bit ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from pipeline import CONV, DEPTHWISE, NEW, Case, conv, function, images, normal, through

pytestmark = pytest.mark.int8

X = images(4, 8, 8, 4)
FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)
BIAS = normal(8)


def after_conv(activation: Callable[[Any], Any], *, last: Any = WIDE) -> Case:
    """Conv, bias, the activation, conv."""

    def model(x: tf.Tensor) -> tf.Tensor:
        return conv(activation(tf.nn.bias_add(conv(x, FIRST), BIAS)), last)

    return through(function(None, 8, 8, 4)(model), X)


CLIPS = {
    "relu": (tf.nn.relu, None),
    "relu6": (tf.nn.relu6, 6.0),
    "relu6 of large values": (lambda y: tf.nn.relu6(y * 20.0), 6.0),
    "min of relu": (lambda y: tf.minimum(tf.nn.relu(y), 1.5), 1.5),
    "clip by value": (lambda y: tf.clip_by_value(y, 0.0, 1.0), 1.0),
    "max": (lambda y: tf.maximum(y, 0.0), None),
    "max of min": (lambda y: tf.maximum(tf.minimum(y, 0.5), 0.0), 0.5),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_fused(name: str) -> None:
    activation, cap = CLIPS[name]
    case = after_conv(activation)
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.conversions == (1, 1)
    first = next(node for node in case.fast.model.graph if node.op == CONV)
    limit = case.fast.model.graph[first.inputs[-1]].value
    assert cap is None or limit <= cap * (1 + 1e-6)
    assert case.sqnr > 33


@pytest.mark.parametrize(
    "activation",
    [
        lambda y: tf.nn.leaky_relu(y, 0.1),
        tf.nn.leaky_relu,
        lambda y: tf.maximum(y, 0.1 * y),
        lambda y: tf.maximum(y * 0.3, y),
    ],
)
def test_11_leaky_relu_is_two_sums(activation: Callable[[Any], Any]) -> None:
    case = after_conv(activation, last=POINT)
    assert case.rewrites == ["conv", "leaky_relu", "conv"]
    assert case.conversions == (1, 1)
    assert case.ops[DEPTHWISE] == 2
    assert case.plan.refusals == ()
    assert case.sqnr > 30


def test_11_a_slope_above_one_is_no_leaky_relu() -> None:
    case = after_conv(lambda y: tf.maximum(y, 3.0 * y))
    assert "leaky_relu" not in case.rewrites
    assert case.refused["Maximum"] == "its slope is 3, expected a number between 0 and 1"
    assert case.sqnr > 30


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("Elu", tf.nn.elu),
        ("Sigmoid", tf.nn.sigmoid),
        ("Tanh", tf.nn.tanh),
        ("Softplus", tf.nn.softplus),
        ("Minimum", lambda y: tf.clip_by_value(y, -1.0, 1.0)),
    ],
)
def test_12_other_activations_stay_float(name: str, activation: Callable[[Any], Any]) -> None:
    case = after_conv(activation)
    assert case.rewrites == ["conv", "conv"]
    assert case.conversions == (2, 2)
    assert case.ops[name] == 1
    assert case.refused[name]
    assert case.sqnr > 30


@pytest.mark.parametrize(
    ("form", "activation", "float_ops"),
    [
        ("swish", tf.nn.silu, {"Sigmoid": 1}),
        ("swish as product", lambda y: y * tf.sigmoid(y), {"Sigmoid": 1, "Mul": 1}),
        ("gelu", tf.nn.gelu, {"Erfc": 1}),
        ("gelu tanh", lambda y: tf.nn.gelu(y, approximate=True), {"Tanh": 1}),
    ],
)
def test_13_and_22_composed_activations(form: str, activation: Callable[[Any], Any], float_ops: dict[str, int]) -> None:
    del form
    case = after_conv(activation)
    assert case.rewrites == ["conv", "conv"]  # a piece of float arithmetic is not done in 8 bits on the way
    assert {op: case.ops[op] for op in float_ops} == float_ops
    assert case.conversions == (2, 2)
    assert case.sqnr > 30


def test_14_hard_swish() -> None:
    case = after_conv(lambda y: y * tf.nn.relu6(y + 3.0) * (1 / 6))
    assert case.rewrites == ["conv", "conv"]
    assert not case.ops[DEPTHWISE]
    assert case.conversions == (2, 2)
    assert case.ops["Mul"] == 1  # the 1/6 is folded into the second conv
    assert set(case.refused) == {"Relu6", "Mul"}
    assert case.sqnr > 30


def test_15_squeeze_and_excite() -> None:
    squeeze, excite = normal(1, 1, 8, 2), normal(1, 1, 2, 8)

    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        gate = tf.nn.relu(conv(tf.reduce_mean(y, [1, 2], keepdims=True), squeeze))
        return conv(y * tf.sigmoid(conv(gate, excite)), WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "mean", "conv_relu", "conv", "conv"]
    assert case.ops["Sigmoid"] == 1
    assert case.ops["Mul"] == 1
    assert case.conversions == (2, 3)
    assert case.sqnr > 32


V = images(6, 16)
IN, OUT, UNITS = normal(16, 8, scale=0.3), normal(8, 4, scale=0.3), normal(8)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("relu", tf.nn.relu),
        ("relu", lambda y: tf.nn.relu6(4.0 * y)),
        ("elu", tf.nn.elu),
        ("leaky_relu", lambda y: tf.nn.leaky_relu(y, 0.3)),
        ("leaky_relu", tf.nn.leaky_relu),
        ("sigmoid", tf.nn.sigmoid),
        ("tanh", tf.nn.tanh),
    ],
)
def test_20_dense_activation_is_fused_from_2_17_on(name: str, activation: Callable[[Any], Any]) -> None:
    model = function(None, 16)(lambda x: activation(x @ IN + UNITS) @ OUT)
    old, new = through(model, V), through(model, V, NEW)
    assert old.rewrites == ["matmul", "matmul"]
    assert "_QuantizedMatMul needs TensorFlow 2.17" in old.refused.values()
    assert new.rewrites == [f"matmul_{name}", "matmul"]
    assert new.plan.refusals == ()
    assert min(old.sqnr, new.sqnr) > 35


GELUS = {
    "erfc": (tf.nn.gelu, "erf"),
    "erf": (lambda y: 0.5 * y * (1.0 + tf.math.erf(y * 0.70710678)), "erf"),
    "erf otherwise bracketed": (lambda y: (0.5 * (tf.math.erf(0.70710678 * y) + 1.0)) * y, "erf"),
    "tanh": (lambda y: tf.nn.gelu(y, approximate=True), "tanh"),
}


@pytest.mark.parametrize("name", GELUS)
def test_22_dense_gelu(name: str) -> None:
    activation, form = GELUS[name]
    model = function(None, 16)(lambda x: activation(x @ IN + UNITS) @ OUT)
    case = through(model, V, NEW)
    assert case.rewrites == [f"matmul_gelu_{form}", "matmul"]
    assert case.conversions == (1, 0)
    assert case.sqnr > 35
    old = through(model, V)
    assert old.rewrites == ["matmul", "matmul"]
    assert old.sqnr > 35


def test_22_other_constants_are_no_gelu() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = x @ IN + UNITS
        return (0.5 * y * (1.0 + tf.math.erf(y * 0.9))) @ OUT

    case = through(function(None, 16)(model), V, NEW)
    assert case.rewrites == ["matmul", "matmul"]
    assert any("it is no Gelu: root is [0.8999" in refusal.reason for refusal in case.plan.refusals)
    assert case.sqnr > 35
