"""Dimensions that are not known before the run, and channels first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pipeline import CONV, BatchNorm, conv, function, images, normal, through

from eightfold.graph.ir import Shape
from eightfold.metrics import sqnr_db
from eightfold.tf.session import Runner
from lowering import COARSER

pytestmark = pytest.mark.int8

FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)
BIAS, NORM = normal(8), BatchNorm.of(8)


def block(x: tf.Tensor) -> tf.Tensor:
    y = tf.nn.max_pool2d(tf.nn.relu(conv(x, FIRST)), 2, 2, "SAME")
    return tf.nn.relu(conv(tf.nn.relu(conv(y, WIDE)), WIDE) + y)


@pytest.mark.parametrize("dims", [(None, 8, 8), (None, None, None), (2, 8, 8)])
def test_33_dynamic_batch_and_image(dims: tuple[int | None, ...]) -> None:
    case = through(function(*dims, 4)(lambda x: conv(block(x), POINT)), images(2, 8, 8, 4))
    assert case.rewrites == ["conv_relu", "maxpool", "conv_relu", "conv_add_relu", "conv"]
    assert case.conversions == (1, 1)
    (spec,) = case.fast.model.default.inputs.values()
    assert spec.shape == Shape((*dims, 4))
    assert case.sqnr > 33


def test_33_another_size_than_the_one_calibrated_with() -> None:
    case = through(function(None, None, None, 4)(lambda x: conv(block(x), POINT)), images(64, 8, 8, 4))
    other = images(1, 11, 17, 4, seed=8)
    results = []
    for model in (case.original, case.fast.model):
        (source,), (result,) = model.default.inputs.values(), model.default.outputs.values()
        with Runner.of(model) as run:
            results.append(run([result.ref], {source.ref: other})[0])
    assert results[0].shape == results[1].shape == (1, 6, 9, 8)
    assert sqnr_db(*results) > 28


def test_33_mean_over_an_image_of_unknown_size_stays_float() -> None:
    model = function(None, None, None, 4)(lambda x: tf.reduce_mean(block(x), [1, 2]) @ normal(8, 3))
    case = through(model, images(2, 8, 8, 4))
    assert case.rewrites == ["conv_relu", "maxpool", "conv_relu", "conv_add_relu", "matmul"]
    assert case.refused == {"Mean": "height and width are not known before the run"}
    assert case.sqnr > 33


def test_33_flatten_of_a_dynamic_batch_is_no_break() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        flat = tf.reshape(y, tf.stack([tf.shape(y)[0], 8 * 8 * 8]))
        return flat @ normal(512, 3, scale=0.1)

    case = through(function(None, 8, 8, 4)(model), images(2, 8, 8, 4))
    assert case.rewrites == ["conv_relu", "reshape", "matmul"]
    assert case.conversions == (1, 0)
    assert not case.ops["Shape"]
    assert case.sqnr > 35 - 20 * np.log10(COARSER)


def channels_first(x: tf.Tensor) -> tf.Tensor:
    def conv_first(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, np.asarray(weight), 1, "SAME", data_format="NCHW")

    y = tf.nn.relu(tf.nn.bias_add(conv_first(x, FIRST), BIAS.numpy(), data_format="NCHW"))
    y = tf.nn.max_pool2d(y, 2, 2, "SAME", data_format="NCHW")
    statistics = [value.numpy() for value in (NORM.gamma, NORM.beta, NORM.mean, NORM.variance)]
    norm = tf.compat.v1.nn.fused_batch_norm(conv_first(y, WIDE), *statistics, is_training=False, data_format="NCHW")
    y = tf.concat([tf.nn.relu(y + norm[0]), y], 1)
    y = conv_first(tf.pad(y, [[0, 0], [0, 0], [1, 1], [1, 1]]), np.concatenate([POINT.numpy(), POINT.numpy() * 0.5], 2))
    return tf.reduce_mean(tf.nn.relu(y), [2, 3])


def test_33_nchw_becomes_nhwc(tmp_path: Path) -> None:
    """TensorFlow's CPU kernels cannot run the original: the expected values come from its NHWC twin."""
    graph, path = tf.Graph(), tmp_path / "nchw.pb"
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 4, 8, 8), "x")
        tf.identity(channels_first(x), "y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    case = through(str(path), images(4, 4, 8, 8), inputs=["x:0"], outputs=["y:0"])
    assert case.rewrites[:3] == ["conv_relu", "maxpool", "conv_add_relu"]
    assert case.ops[CONV] == 3
    assert case.ops["Transpose"] == 1  # of the input
    assert {node.attrs.get("data_format", b"NHWC") for node in case.fast.model.graph} == {b"NHWC"}
    assert case.sqnr > 33
