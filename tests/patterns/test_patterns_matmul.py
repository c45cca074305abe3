"""Dense layers, attention, layer norm, embeddings, recurrent layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from pipeline import DENSE, MATMUL, NEW, function, images, normal, through

pytestmark = pytest.mark.int8

V = images(6, 16)
SEQUENCE = images(3, 6, 16)
IN, OUT, UNITS = normal(16, 8, scale=0.3), normal(8, 4, scale=0.3), normal(8)


def test_20_dense_relu_dense() -> None:
    case = through(function(None, 16)(lambda x: tf.nn.relu(tf.nn.bias_add(x @ IN, UNITS)) @ OUT), V, NEW)
    assert case.rewrites == ["matmul_relu", "matmul"]
    assert case.conversions == (1, 0)
    assert case.ops[MATMUL] == case.ops[DENSE] == 1
    assert case.sqnr > 38


@pytest.mark.parametrize("lo", [-1.0, 0.0, -30.0])
def test_21_matmul_without_bias(lo: float) -> None:
    case = through(function(None, 16)(lambda x: x @ IN), images(6, 16, lo=lo))
    assert case.rewrites == ["matmul"]
    assert case.conversions == (1, 0)
    assert case.sqnr > 38


def test_21_transposed_weight() -> None:
    turned = tf.constant(IN.numpy().T)
    case = through(function(None, 16)(lambda x: tf.matmul(x, turned, transpose_b=True) + UNITS), V)
    plain = through(function(None, 16)(lambda x: x @ IN + UNITS), V)
    assert case.rewrites == ["matmul"]
    np.testing.assert_array_equal(*(next(iter(c.actual.values())) for c in (case, plain)))


def test_21_what_stays_float() -> None:
    case = through(function(None, 16)(lambda x: tf.matmul(x, normal(6, 3), transpose_a=True)), V)
    assert case.refused == {"MatMul": "it transposes its first operand"}
    assert case.unchanged
    case = through(function(None, 16)(lambda x: tf.matmul(x, x, transpose_b=True)), V)
    assert "is not a constant" in case.refused["MatMul"]
    assert case.unchanged


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1,), ()])
def test_a_bias_may_be_added_in_several_shapes(shape: tuple[int, ...]) -> None:
    bias = tf.reshape(UNITS[: int(np.prod(shape))], shape)
    case = through(function(None, 16)(lambda x: tf.nn.relu(x @ IN + bias) @ OUT), V, NEW)
    swapped = through(function(None, 16)(lambda x: tf.nn.relu(bias + x @ IN) @ OUT), V, NEW)
    assert case.rewrites == swapped.rewrites == ["matmul_relu", "matmul"]
    assert min(case.sqnr, swapped.sqnr) > 35


def test_an_addition_that_widens_the_product_is_no_bias() -> None:
    case = through(function(None, 16)(lambda x: tf.nn.relu(x @ IN[:, :1] + UNITS) @ OUT), V, NEW)
    assert case.rewrites == ["matmul", "matmul"]
    assert case.refused["AddV2"] == "it adds a constant of shape (8,) to 1 units, expected one number a unit"
    assert case.sqnr > 35


def test_23_attention_by_batch_matmul() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        query, key, value = (tf.matmul(x, weight) for weight in (IN, IN * 0.5, IN[::-1]))
        scores = tf.matmul(query, key, transpose_b=True) * 0.3 + tf.constant(0.1)
        return tf.matmul(tf.nn.softmax(scores), value)

    case = through(function(None, 6, 16)(model), SEQUENCE)
    assert case.rewrites == ["matmul"] * 3  # the products with weights; x is quantized once for all
    assert case.conversions == (1, 0)
    assert case.ops["BatchMatMulV2"] == 2
    assert case.refused["BatchMatMulV2"] == "stock TensorFlow has no 8-bit kernel for BatchMatMulV2"
    assert case.sqnr > 35


def test_23_einsum_with_a_matrix() -> None:
    model = function(None, None, 16)(lambda x: tf.einsum("abc,cd->abd", x, IN) + UNITS)
    case = through(model, SEQUENCE)
    assert case.rewrites == ["matmul"]
    assert not case.ops["Einsum"]
    assert case.sqnr > 38


def test_23_einsum_of_activations_stays_float() -> None:
    case = through(function(None, 6, 16)(lambda x: tf.einsum("abc,adc->abd", x, x)), SEQUENCE)
    assert case.rewrites == []
    assert case.refused["Einsum"] == "stock TensorFlow has no 8-bit kernel for Einsum"
    assert case.unchanged


def test_23_multi_head_attention_of_keras() -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 16))
    case = through(keras.Model(x, keras.layers.MultiHeadAttention(2, 8)(x, x)), SEQUENCE)
    assert case.rewrites == ["matmul"] * 4
    assert case.sqnr > 33


def test_24_layer_norm_stays_float() -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 16))
    norm = keras.layers.LayerNormalization()
    model = keras.Model(x, keras.layers.Dense(8)(norm(x)))
    norm.set_weights([np.linspace(0.5, 1.5, 16), np.linspace(-1, 1, 16)])
    case = through(model, SEQUENCE)
    assert case.rewrites == ["matmul"]
    assert case.refused["Rsqrt"] == "stock TensorFlow has no 8-bit kernel for Rsqrt"
    assert case.ops["Rsqrt"] == 1
    assert case.sqnr > 38


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_stay_float(kind: str) -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 16))
    recurrent = getattr(keras.layers, kind)(8)(x)
    case = through(keras.Model(x, [recurrent, keras.layers.Dense(4)(recurrent)]), SEQUENCE)
    assert case.rewrites[-1] == "matmul"
    assert case.refused["While"] == "stock TensorFlow has no 8-bit kernel for While"
    assert case.sqnr > 33


@pytest.mark.parametrize("recipe", [None, NEW])
def test_34_wide_and_deep(recipe: object) -> None:
    keras.utils.set_random_seed(1)
    ids, numbers = keras.Input((3,), dtype="int32", name="ids"), keras.Input((4,), name="numbers")
    deep = keras.layers.Flatten()(keras.layers.Embedding(10, 4)(ids))
    deep = keras.layers.Dense(16, activation="relu")(keras.layers.Concatenate()([deep, numbers]))
    model = keras.Model([ids, numbers], keras.layers.Dense(1, activation="sigmoid")(deep))
    data = {"ids": np.random.default_rng(0).integers(0, 10, (5, 3), np.int32), "numbers": images(5, 4)}
    case = through(model, data, recipe)  # type: ignore[arg-type]
    assert case.rewrites == (["matmul_relu", "matmul_sigmoid"] if recipe else ["matmul", "matmul"])
    assert case.refused["GatherV2"] == "stock TensorFlow has no 8-bit kernel for GatherV2"
    assert case.sqnr > 40
