"""Convolutions with what comes before and after them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from pipeline import CONV, DEPTHWISE, BatchNorm, conv, depthwise, function, images, normal, through

from eightfold.graph.reference import evaluate

pytestmark = pytest.mark.int8

X = images(4, 8, 8, 4)
FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)
NARROW = normal(1, 1, 4, 8, scale=0.3)
EACH = normal(3, 3, 8, 1, scale=0.3)
BIAS, NORM = normal(8), BatchNorm.of(8)


def test_01_conv_bias_relu() -> None:
    model = function(None, 8, 8, 4)(lambda x: tf.nn.relu(tf.nn.bias_add(conv(x, FIRST), BIAS)))
    case = through(model, X)
    assert case.rewrites == ["conv_relu"]
    assert case.conversions == (1, 1)
    assert case.plan.refusals == ()
    assert case.sqnr > 40


@pytest.mark.parametrize("relu", [True, False])
def test_02_conv_without_bias(relu: bool) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = conv(x, FIRST)
        return conv(tf.nn.relu(y) if relu else y, WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu" if relu else "conv", "conv"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 33


@pytest.mark.parametrize("strides", [1, 2])
def test_03_pad_conv_bias_relu(strides: int) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]])
        return tf.nn.relu(tf.nn.bias_add(conv(padded, FIRST, strides, "VALID"), BIAS))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu"]
    assert not case.ops["Pad"]
    assert not case.ops["PadV2"]
    node = next(node for node in case.fast.model.graph if node.op == CONV)
    assert node.attrs["explicit_paddings"] == (0, 0, 1, 1, 2, 0, 0, 0)
    assert case.sqnr > 40


def test_03_pad_depthwise() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return depthwise(tf.pad(y, [[0, 0], [0, 1], [0, 1], [0, 0]]), EACH, 2, "VALID")

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "depthwise"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 35


def test_04_conv_fused_batch_norm_relu() -> None:
    case = through(function(None, 8, 8, 4)(lambda x: tf.nn.relu(NORM(conv(x, FIRST)))), X)
    assert case.rewrites == ["conv_relu"]
    assert case.ops == {
        CONV: 1,
        "QuantizeV2": 1,
        "Dequantize": 1,
        "Placeholder": 1,
        "Const": case.ops["Const"],
    }
    assert case.sqnr > 38


def test_05_keras_3_batch_norm() -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 4))
    y = keras.layers.Conv2D(8, 3, use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    y = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(y))
    model = keras.Model(x, y)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    case = through(model, X)
    assert case.rewrites == ["conv_relu", "depthwise_relu"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 35


def test_06_residual_before_relu() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        shortcut = tf.nn.relu(NORM(conv(x, FIRST)))
        y = NORM(conv(tf.nn.relu(conv(shortcut, WIDE)), WIDE))
        return conv(tf.nn.relu(y + shortcut), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv_relu", "conv_add_relu", "conv"]
    assert case.ops[CONV] == 4
    assert not case.ops["QuantizedMaxPool"]  # all other readers of the shortcut come before the sum
    assert case.conversions == (1, 1)
    assert case.sqnr > 32


def test_06_summand_that_the_sum_itself_convolves_is_copied() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return conv(tf.nn.relu(conv(y, WIDE) + y), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv_add_relu", "conv"]
    assert case.ops["QuantizedMaxPool"] == 1
    assert case.sqnr > 32


def test_06_sum_written_as_add_n() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return conv(tf.nn.relu(tf.add_n([conv(tf.nn.relu(conv(y, WIDE)), WIDE), y])), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv_relu", "conv_add_relu", "conv"]
    assert case.sqnr > 32


def test_06_projection_shortcut_is_signed() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return tf.nn.relu(NORM(conv(y, WIDE)) + NORM(conv(y, POINT)))

    case = through(function(None, 8, 8, 4)(model), X)
    assert sorted(case.rewrites) == ["conv", "conv_add_relu", "conv_relu"]
    summand = next(step for step in case.plan.steps if step.rewrite.name == "conv")
    assert case.fast.model.graph[summand.name].attrs["out_type"] == "quint8"  # by an offset: all 8 bits
    assert case.sqnr > 35


def test_07_residual_without_relu() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        narrow = NORM(conv(x, NARROW))
        y = NORM(conv(tf.nn.relu6(conv(narrow, POINT)), POINT)) + narrow
        y = NORM(conv(tf.nn.relu6(conv(y, POINT)), POINT)) + y
        return conv(y, POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv", "conv_relu", "conv_add", "conv_relu", "conv_add", "conv"]
    assert case.conversions == (1, 1)
    types = {str(node.attrs["out_type"]) for node in case.fast.model.graph if node.op == CONV}
    assert types == {"quint8"}
    assert case.sqnr > 33


def test_08_batch_norm_relu_conv() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = conv(x, FIRST)
        y = y + conv(tf.nn.relu(NORM(y)), WIDE)
        return y + conv(tf.nn.relu(NORM(y)), WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv", "affine_relu", "conv_add", "affine_relu", "conv_add"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 30


def test_08_batch_norm_folds_forward_into_an_unpadded_conv() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.max_pool2d(tf.nn.relu(conv(x, FIRST)), 2, 2, "SAME")
        return tf.nn.relu(tf.nn.bias_add(conv(NORM(y), POINT), BIAS))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "maxpool", "conv_relu"]
    assert case.sqnr > 35


@pytest.mark.parametrize("relu6", [True, False])
def test_09_and_10_depthwise_batch_norm(relu6: bool) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = NORM(depthwise(tf.nn.relu(conv(x, FIRST)), EACH))
        return conv(tf.nn.relu6(y) if relu6 else y, POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "depthwise_relu" if relu6 else "depthwise", "conv"]
    assert case.ops[DEPTHWISE] == 1
    assert case.conversions == (1, 1)
    assert case.sqnr > 33


def test_25_conv3d_stays_float() -> None:
    weight = normal(3, 3, 3, 4, 8, scale=0.1)

    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(tf.nn.conv3d(x, weight, [1] * 5, "SAME"))
        return tf.nn.relu(y + tf.nn.conv3d(x, weight, [1] * 5, "SAME"))

    case = through(function(None, 5, 8, 8, 4)(model), images(2, 5, 8, 8, 4))
    assert case.rewrites == []
    assert case.refused["Conv3D"] == "stock TensorFlow has no 8-bit kernel for Conv3D"
    assert case.unchanged


def test_26_transposed_conv_stays_float_between_int8() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        batch = tf.shape(y)[0]
        up = tf.nn.conv2d_transpose(y, WIDE, [batch, 16, 16, 8], 2, "SAME")
        return conv(tf.nn.relu(NORM(tf.nn.bias_add(up, BIAS))), WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.conversions == (2, 2)  # the shape is read off the codes
    assert case.ops["Mul"] == 0  # its batch norm is folded all the same
    assert case.refused["Conv2DBackpropInput"] == "stock TensorFlow has no 8-bit kernel for Conv2DBackpropInput"
    assert case.sqnr > 33


@pytest.mark.parametrize("form", ["by hand", "dilations", "depthwise"])
def test_27_dilated(form: str) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        if form == "by hand":
            y = tf.space_to_batch(x, [2, 2], [[2, 2], [2, 2]])
            return tf.nn.relu(tf.batch_to_space(conv(y, FIRST, 1, "VALID"), [2, 2], [[0, 0], [0, 0]]))
        if form == "dilations":
            return tf.nn.relu(conv(x, FIRST, dilations=2))
        return tf.nn.relu(depthwise(tf.nn.relu(conv(x, FIRST)), EACH, dilations=[2, 2]))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == (["conv_relu", "depthwise_relu"] if form == "depthwise" else ["conv_relu"])
    last = [node for node in case.fast.model.graph if node.op in (CONV, DEPTHWISE)][-1]
    assert last.attrs["dilations"] == (1, 2, 2, 1)
    assert case.conversions == (1, 1)
    assert case.sqnr > 35


def test_28_shared_weights() -> None:
    def model(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return conv(tf.nn.relu(conv(x, FIRST) * 2.0 + 1.0), POINT), conv(tf.nn.relu(NORM(conv(x * 3.0, FIRST))), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv", "conv_relu", "conv"]
    assert case.conversions == (1, 2)
    assert case.sqnr > 33


def test_grouped_conv_stays_float() -> None:
    weight = normal(3, 3, 2, 8, scale=0.2)
    case = through(function(None, 8, 8, 4)(lambda x: conv(tf.nn.relu(conv(x, weight)), POINT)), X)
    assert case.rewrites == ["conv"]
    assert case.refused["Conv2D"] == "it is a grouped convolution (4 channels into a filter of 2)"
    assert case.sqnr > 35


def test_one_channel_broadcast_to_three_is_not_folded() -> None:
    """Gray pictures made to look like colour ones by their normalisation."""
    mean, deviation = tf.constant([0.1, 0.2, 0.3]), tf.constant([0.5, 0.6, 0.7])
    weight = normal(1, 1, 3, 8)
    model = function(None, 8, 8, 1)(lambda x: conv((x - mean) / deviation, weight))
    case = through(model, images(3, 8, 8, 1))
    assert case.rewrites == ["conv"]
    assert case.sqnr > 35


def test_the_numpy_reference_computes_the_same_block() -> None:
    """A whole residual block: TensorFlow's outputs against the reference on the same graph."""

    def model(x: tf.Tensor) -> tf.Tensor:
        shortcut = tf.nn.relu(conv(x, FIRST))
        y = depthwise(tf.nn.relu6(conv(shortcut, WIDE)), EACH)
        return conv(tf.nn.relu(conv(y, POINT) + shortcut), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    signature = case.fast.model.default
    (ref,) = (spec.ref for spec in signature.outputs.values())
    (source,) = (spec.ref for spec in signature.inputs.values())
    (expected,) = evaluate(case.fast.model.graph, [ref], {source: X})
    (actual,) = case.actual.values()
    np.testing.assert_allclose(expected, actual, atol=2.5 * np.abs(expected).max() / 255)
