"""The fused batch norm against Keras's own: outputs, gradients, moving statistics."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from eightfold.training import batch_norm

SHAPES = {
    "pictures": ((4, 5, 6, 16), -1),
    "pictures, odd channels": ((4, 5, 6, 5), 3),
    "sequences": ((4, 9, 16), -1),
    "sequences, channels first": ((4, 16, 9), 1),
    "volumes": ((2, 3, 4, 5, 16), 4),
    "channels first": ((4, 16, 5, 6), 1),
    "one element": ((1, 1, 1, 16), -1),
}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no scale": {"scale": False},
    "no center": {"center": False},
    "neither": {"scale": False, "center": False, "epsilon": 1e-6},
    "tiny epsilon": {"epsilon": 1e-7},  # below what tf.nn.fused_batch_norm allows
    "regularized": {"gamma_regularizer": "l2", "beta_regularizer": "l1", "gamma_constraint": "non_neg"},
}
WAYS = {"training": (True, True), "inference": (False, True), "frozen": (True, False)}


def pair(shape: tuple[int, ...], axis: int, policy: str = "float32", **form: Any) -> tuple[Any, Any]:
    """A layer of Keras and a fused one with the same weights."""
    layers = []
    rng = np.random.default_rng(3)
    weights: list[Any] | None = None
    for _ in range(2):
        layer = keras.layers.BatchNormalization(axis=axis, momentum=0.8, dtype=policy, **form)
        layer.build((None, *shape[1:]))
        weights = weights or [rng.uniform(0.5, 2, one.shape) for one in layer.weights]
        layer.set_weights(weights)
        layers.append(layer)
    assert batch_norm.refusal(layers[1]) is None
    batch_norm.fuse(layers[1])
    return layers[0], layers[1]


def tensor(shape: tuple[int, ...], policy: str, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).normal(2, 3, shape)
    return tf.constant(values, "bfloat16" if "bfloat16" in policy else "float32")


def computed(layer: Any, inputs: Any, training: bool, wrap: Any = tf.function) -> dict[str, Any]:
    """All that comes of one call, in float32."""
    toward = tensor(inputs.shape, layer.compute_dtype, seed=1)

    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.add_n([tf.reduce_sum(tf.cast(outputs * toward, tf.float32)), *layer.losses])
        gradients = tape.gradient(loss, [inputs, *(one.value for one in (layer.gamma, layer.beta) if one is not None)])
        return outputs, loss, *gradients

    names = ("outputs", "loss", "gradient of inputs", "gradient of first weight", "gradient of second weight")
    results = dict(zip(names, wrap(step)(inputs), strict=False))
    results |= {"moving mean": layer.moving_mean.value, "moving variance": layer.moving_variance.value}
    return {name: np.asarray(tf.cast(value, tf.float32)) for name, value in results.items()}


def assert_equal(stock: dict[str, Any], fused: dict[str, Any], *, rounding: float) -> None:
    assert stock.keys() == fused.keys()
    for name, expected in stock.items():
        allowed = rounding * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(fused[name], expected, rtol=0, atol=allowed, err_msg=name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", SHAPES)
def test_it_computes_what_keras_does(kind: str, policy: str, way: str) -> None:
    shape, axis = SHAPES[kind]
    training, trainable = WAYS[way]
    stock, fused = pair(shape, axis, policy)
    stock.trainable = fused.trainable = trainable
    inputs = tensor(shape, policy)
    # A number of bfloat16 has 8 bits: where sums differ in the last bit of float32, it may be rounded the other way.
    rounding = 1e-2 if policy == "mixed_bfloat16" else 5e-6
    expected, result = computed(stock, inputs, training), computed(fused, inputs, training)
    assert_equal(expected, result, rounding=rounding)
    kept = [name for name in expected if "moving" in name]
    assert_equal({name: expected[name] for name in kept}, {name: result[name] for name in kept}, rounding=5e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_so_it_does_without_scale_or_center_and_with_what_weights_are_held_by(form: str, training: bool) -> None:
    stock, fused = pair((4, 5, 6, 16), -1, **FORMS[form])
    inputs = tensor((4, 5, 6, 16), "float32")
    assert_equal(computed(stock, inputs, training), computed(fused, inputs, training), rounding=5e-6)


def test_bfloat16_is_rounded_as_keras_rounds_it() -> None:
    """Both sum in float32 and round once: nearly all numbers are equal to the bit."""
    stock, fused = pair((8, 7, 7, 32), -1, "mixed_bfloat16")
    inputs = tensor((8, 7, 7, 32), "mixed_bfloat16")
    expected, result = stock(inputs, training=True), fused(inputs, training=True)
    assert result.dtype == tf.bfloat16
    assert np.mean(expected.numpy() == result.numpy()) > 0.999


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_statistics_held_in_bfloat16_are_updated_alike(policy: str) -> None:
    stock, fused = pair((4, 5, 6, 16), -1, policy)
    inputs = tensor((4, 5, 6, 16), policy)
    assert_equal(computed(stock, inputs, True), computed(fused, inputs, True), rounding=1e-2)
    assert fused.moving_mean.dtype == stock.moving_mean.dtype


def test_eager_calls_agree_too() -> None:
    stock, fused = pair((4, 5, 6, 16), -1)
    inputs = tensor((4, 5, 6, 16), "float32")
    results = [computed(layer, inputs, True, wrap=lambda step: step) for layer in (stock, fused)]
    assert_equal(*results, rounding=5e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 6, 16), (4, 5, 16)])
def test_gradients_of_gradients_agree(shape: tuple[int, ...], training: bool) -> None:
    stock, fused = pair(shape, -1)
    inputs = tensor(shape, "float32")

    def penalty(layer: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                loss = tf.reduce_sum(layer(inputs, training=training) ** 3)
            norm = tf.reduce_sum(tf.square(inner.gradient(loss, inputs)))
        return outer.gradient(norm, inputs).numpy()

    expected = penalty(stock)
    np.testing.assert_allclose(penalty(fused), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(4, 5, 6, 16), (4, 5, 16), (2, 3, 4, 5, 16)])
def test_sizes_may_be_open(shape: tuple[int, ...]) -> None:
    stock, fused = pair(shape, -1)
    inputs = tensor(shape, "float32")
    open_sizes = tf.TensorSpec([None] * (len(shape) - 1) + [16])
    run = [tf.function(partial(layer, training=True), input_signature=[open_sizes]) for layer in (stock, fused)]
    np.testing.assert_allclose(run[1](inputs), run[0](inputs), atol=5e-6)
    assert run[1](inputs[:0]).shape == (0, *shape[1:])
    assert fused.compute_output_spec(keras.KerasTensor((None, *shape[1:]))).shape == (None, *shape[1:])


@pytest.mark.parametrize(
    ("policy", "channels", "axis", "training", "computes_in"),
    [
        ("float32", 16, -1, True, "float32"),
        ("float32", 5, -1, False, "float32"),
        ("mixed_bfloat16", 16, -1, True, "bfloat16"),
        ("mixed_bfloat16", 16, -1, False, "bfloat16"),
        ("mixed_bfloat16", 24, -1, True, "float32"),  # the kernel for bfloat16 is slow there
        ("mixed_bfloat16", 24, -1, False, None),
        ("float32", 16, 1, True, "float32"),
        ("float32", 16, 1, False, None),
    ],
)
def test_the_kernel_is_used_where_it_is_faster(
    policy: str, channels: int, axis: int, training: bool, computes_in: str | None
) -> None:
    shape = (2, channels, 4, 4) if axis == 1 else (2, 4, 4, channels)
    _, fused = pair(shape, axis, policy)
    graph = tf.function(lambda x: fused(x, training=training)).get_concrete_function(tensor(shape, policy)).graph
    kernels = [op.get_attr("T").name for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    assert kernels == ([computes_in] if computes_in else [])


def test_with_a_mask_keras_computes() -> None:
    stock, fused = pair((4, 9, 16), -1)
    inputs = tensor((4, 9, 16), "float32")
    mask = tf.sequence_mask([9, 2, 5, 1], 9)
    for training in (True, False):
        np.testing.assert_array_equal(
            fused(inputs, training=training, mask=mask), stock(inputs, training=training, mask=mask)
        )
    np.testing.assert_array_equal(fused.moving_mean, stock.moving_mean)
    with pytest.raises(ValueError, match="one dimension less"):
        fused(inputs, mask=mask[0])


class Derived(keras.layers.BatchNormalization):
    pass


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (lambda: keras.layers.BatchNormalization(synchronized=True), (None, 4, 4, 8), "over all workers"),
        (lambda: keras.layers.BatchNormalization(renorm=True), (None, 4, 4, 8), "no batch renormalization"),
        (lambda: keras.layers.BatchNormalization(axis=2), (None, 4, 4, 8), "axis 2 of 4"),
        (keras.layers.BatchNormalization, (None, 8), "2 dimensions"),
        (lambda: keras.layers.BatchNormalization(dtype="float64"), (None, 4, 4, 8), "computes in float64"),
        (lambda: keras.layers.BatchNormalization(dtype="mixed_float16"), (None, 4, 4, 8), "computes in float16"),
        (Derived, (None, 4, 4, 8), "a Derived, a class of its own"),
    ],
    ids=["synchronized", "renorm", "axis", "dense", "float64", "float16", "derived"],
)
def test_what_cannot_be_fused_has_a_reason(layer: Any, shape: tuple[int | None, ...], reason: str) -> None:
    made = layer()
    made.build(shape)
    assert reason in (batch_norm.refusal(made) or "")


def test_a_call_that_somebody_else_replaced_stays() -> None:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 4, 4, 8))
    layer.call = lambda inputs, training=None, mask=None: inputs
    assert batch_norm.refusal(layer) == "its call is replaced already"


def test_one_layer_is_changed_and_can_be_changed_back() -> None:
    of_keras = keras.layers.BatchNormalization.call
    stock, fused = pair((4, 5, 6, 16), -1)
    assert batch_norm.is_fused(fused)
    assert not batch_norm.is_fused(stock)
    assert type(fused) is keras.layers.BatchNormalization
    assert keras.layers.BatchNormalization.call is of_keras
    assert {**fused.get_config(), "name": ""} == {**stock.get_config(), "name": ""}
    batch_norm.unfuse(fused)
    assert not batch_norm.is_fused(fused)
    inputs = tensor((4, 5, 6, 16), "float32")
    np.testing.assert_array_equal(fused(inputs, training=True), stock(inputs, training=True))
