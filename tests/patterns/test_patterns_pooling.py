"""Pooling and concatenation between convolutions."""

from __future__ import annotations

import pytest
import tensorflow as tf
from pipeline import CONV, conv, function, images, normal, through

pytestmark = pytest.mark.int8

X = images(4, 8, 8, 4)
FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)
NARROW = normal(1, 1, 4, 8, scale=0.3)
DENSE = normal(8, 5, scale=0.4)


def limits(graph: object, op: str) -> set[float]:
    """The upper bounds that the nodes of an op requantize to."""
    return {float(graph[node.inputs[-1]].value) for node in graph if node.op == op}  # type: ignore[attr-defined, index]


def test_16_max_and_average_pool() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.max_pool2d(tf.nn.relu(conv(x, FIRST)), 3, 2, "SAME")
        return conv(tf.nn.avg_pool2d(tf.nn.relu(conv(y, WIDE)), 2, 1, "SAME"), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "maxpool", "conv_relu", "avgpool", "conv"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 32


def test_16_pools_of_linear_tensors() -> None:
    """Padding must not count in an average, nor win a maximum, where codes have an offset."""

    def model(x: tf.Tensor) -> tf.Tensor:
        y = conv(x, FIRST) - 2.0
        return conv(tf.nn.max_pool2d(y, 3, 1, "SAME"), POINT) + conv(tf.nn.avg_pool2d(y, 3, 1, "SAME"), POINT)

    case = through(function(None, 8, 8, 4)(model), X)
    assert sorted(case.rewrites) == ["avgpool", "conv", "conv", "conv_add", "maxpool"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 32


def test_16_pool_at_the_end_stays_float_where_averaging_would_round_twice() -> None:
    model = function(None, 8, 8, 4)(lambda x: tf.nn.avg_pool2d(tf.nn.relu(conv(x, FIRST)), 2, 2, "VALID"))
    case = through(model, X)
    assert case.rewrites == ["conv_relu"]
    assert case.refused["AvgPool"] == "a neighbour of it is in float: 8 bits would only add conversions"
    assert case.sqnr > 40


@pytest.mark.parametrize("keepdims", [True, False])
def test_17_global_average_before_dense(keepdims: bool) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(tf.nn.relu(conv(x, FIRST)), [1, 2], keepdims=keepdims)
        return tf.reshape(mean, [-1, 8]) @ DENSE

    case = through(function(None, 8, 8, 4)(model), X)
    assert [name for name in case.rewrites if name != "reshape"] == ["conv_relu", "mean", "matmul"]
    assert case.conversions == (1, 0)  # the dense layer itself gives float
    assert case.sqnr > 33


def test_17_global_average_as_output_stays_float() -> None:
    model = function(None, 8, 8, 4)(lambda x: tf.reduce_mean(tf.nn.relu(conv(x, FIRST)), [1, 2]))
    case = through(model, X)
    assert case.rewrites == ["conv_relu"]
    assert case.refused == {"Mean": "a neighbour of it is in float: 8 bits would only add conversions"}
    assert case.sqnr > 45


def test_18_concat_of_relu_branches_shares_one_scale() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        pooled = tf.nn.max_pool2d(y, 3, 1, "SAME")
        branches = [conv(y, POINT), conv(y, WIDE * 3.0), conv(pooled, POINT * 0.5)]
        merged = tf.concat([*(tf.nn.relu(branch) for branch in branches), pooled], -1)
        return conv(merged, normal(1, 1, 32, 8, scale=0.2))

    case = through(function(None, 8, 8, 4)(model), X)
    assert sorted(case.rewrites) == ["concat", "conv", *["conv_relu"] * 4, "maxpool"]
    assert case.conversions == (1, 1)
    assert len(limits(case.fast.model.graph, CONV)) == 2  # one for the group, one for the output
    assert case.ops["QuantizedConcatV2"] == 0
    assert case.sqnr > 30


def test_19_concat_of_mixed_signs() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        branches = [tf.nn.relu(conv(x, FIRST)), conv(x, NARROW * 2.0), tf.nn.relu6(conv(x, FIRST * 20.0))]
        return conv(tf.concat(branches, -1), normal(3, 3, 24, 8, scale=0.1))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv", "conv_relu", "concat", "conv"]
    assert case.conversions == (1, 1)
    assert case.sqnr > 28


def test_19_concat_with_float_branches() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        ones = tf.ones([tf.shape(x)[0], 8, 8, 1])
        branches = [tf.nn.relu(conv(x, FIRST)), tf.sigmoid(x), ones]
        return conv(tf.concat(branches, -1), normal(3, 3, 13, 8, scale=0.1))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "concat", "conv"]
    assert case.conversions[0] == 3
    assert case.sqnr > 33


def test_19_concat_of_integers_stays_as_it_is() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        signs = tf.concat([tf.cast(x > 0.0, tf.int32), tf.cast(x > 0.5, tf.int32)], -1)
        return conv(tf.cast(signs, tf.float32), normal(3, 3, 8, 8, scale=0.2))

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv"]
    assert case.refused["ConcatV2"] == "it computes int32; the 8-bit kernels stand for float32"
    assert case.sqnr > 35


def test_concat_along_other_axes_and_resize() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        z = tf.concat([y, tf.transpose(y, [0, 2, 1, 3])], 1)[:, 1:13, ::2]
        z = tf.compat.v1.image.resize_nearest_neighbor(z, [8, 8])
        return conv(tf.pad(tf.squeeze(tf.expand_dims(z, 1), 1), [[0, 0], [1, 1], [1, 1], [0, 0]]), WIDE, 1, "VALID")

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.conversions == (1, 1)
    assert case.plan.refusals == ()
    assert case.sqnr > 33


@pytest.mark.parametrize("how", ["keras upsampling", "depth to space", "mirror pad", "resize"])
def test_ops_that_only_move_numbers_move_codes(how: str) -> None:
    def moved(y: tf.Tensor) -> tf.Tensor:
        if how == "keras upsampling":
            return tf.reshape(tf.tile(tf.expand_dims(y, 3), [1, 1, 1, 2, 1]), [-1, 8, 16, 8])
        if how == "depth to space":
            return tf.concat([tf.nn.space_to_depth(tf.nn.depth_to_space(y, 2), 2), y], -1)[..., :8]
        if how == "mirror pad":
            return tf.pad(y, [[0, 0], [1, 1], [2, 1], [0, 0]], mode="REFLECT")
        return tf.compat.v1.image.resize_nearest_neighbor(y, [11, 5], half_pixel_centers=True)

    model = function(None, 8, 8, 4)(lambda x: conv(moved(conv(x, FIRST)), POINT))
    case = through(model, X)
    assert case.conversions == (1, 1)
    assert case.plan.refusals == ()
    assert case.rewrites[0] == case.rewrites[-1] == "conv"
    assert case.sqnr > 33
