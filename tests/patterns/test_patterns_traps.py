"""Six traps on which other tools fall: values, training, size and the order of inputs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from pipeline import BatchNorm, conv, function, images, normal, through

import eightfold as ef
from eightfold.errors import DataError, ModelError

pytestmark = pytest.mark.int8

X = images(4, 8, 8, 4)
FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)
NORM = BatchNorm.of(8)


def test_residual_without_any_bias() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return conv(tf.nn.relu(y + conv(tf.nn.relu(conv(y, WIDE)), WIDE)), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv_relu", "conv_add_relu", "conv"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 33


def test_batch_norm_in_training_mode_stays_as_it_is() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = conv(x, FIRST)
        y = tf.compat.v1.nn.fused_batch_norm(y, NORM.gamma, NORM.beta, is_training=True)[0]
        return conv(tf.nn.relu(y), WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.ops["FusedBatchNormV3"] == 1
    assert case.refused["FusedBatchNormV3"] == "stock TensorFlow has no 8-bit kernel for FusedBatchNormV3"
    assert case.rewrites == ["conv", "conv"]
    assert case.sqnr > 30


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_a_weight_is_an_error_not_a_random_number(value: float) -> None:
    broken = FIRST.numpy().copy()
    broken[0, 0, 0, 0] = value
    model = function(None, 8, 8, 4)(lambda x: conv(tf.nn.relu(conv(x, broken)), WIDE))
    with pytest.raises(ModelError, match="the weights of 'Conv2D' .* expected finite numbers"):
        ef.export(model)


def test_nan_in_the_data_is_an_error() -> None:
    exported = ef.export(function(None, 8, 8, 4)(lambda x: conv(x, FIRST)))
    data = X.copy()
    data[1, 2, 3, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        ef.calibrate(exported, ef.plan(exported), data)


def test_fake_quant_graph_of_quantization_aware_training() -> None:
    def fake(x: tf.Tensor, lo: float, hi: float) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(x, lo, hi)

    def model(x: tf.Tensor) -> tf.Tensor:
        weight = tf.quantization.fake_quant_with_min_max_args(FIRST, -1, 1, narrow_range=True)
        ones = tf.ones(8)
        last = tf.quantization.fake_quant_with_min_max_vars_per_channel(WIDE, -ones, ones, narrow_range=True)
        return conv(fake(tf.nn.relu(conv(fake(x, -1, 1), weight)), 0, 4), last)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.ops["FakeQuantWithMinMaxVarsPerChannel"] == 0  # the weights' are folded
    assert case.refused["FakeQuantWithMinMaxArgs"]
    assert case.sqnr > 28


@pytest.mark.parametrize("swapped", [True, False])
def test_inputs_of_equal_shape_are_bound_by_name(swapped: bool) -> None:
    first, second = tf.keras.Input((8,), name="b"), tf.keras.Input((8,), name="a")
    model = tf.keras.Model([first, second], tf.keras.layers.Dense(3)(first - 2 * second))
    a, b = images(4, 8), images(4, 8, seed=9)
    case = through(model, {"b": b, "a": a} if swapped else {"a": a, "b": b})
    assert case.rewrites == ["matmul"]
    kernel, bias = (value.numpy() for value in model.trainable_weights)
    (actual,) = case.actual.values()
    expected = (b - 2 * a) @ kernel + bias
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()
