"""Statistics of batch norms, recomputed from data."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import NETS, compiled, data, made

from eightfold.errors import DataError, ModelError
from eightfold.training.accelerate import accelerate
from eightfold.training.layers import batch_norms
from eightfold.training.statistics import Recorder, recompute_statistics


def in_batches(array: Any, size: int) -> list[Any]:
    return [array[at : at + size] for at in range(0, len(array), size)]


def statistics(model: Any) -> list[Any]:
    return [one.numpy() for layer in batch_norms(model) for one in (layer.moving_mean, layer.moving_variance)]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((6, 5, 4), -1), ((6, 5, 4), 1), ((6, 5, 4), 2), ((7,), -1)])
def test_they_are_those_of_the_population(shape: tuple[int, ...], axis: int, fast: bool) -> None:
    model = keras.Sequential([keras.Input(shape), keras.layers.BatchNormalization(axis=axis)])
    if fast:
        accelerate(model, "fp32")
    values = np.random.default_rng(0).normal(30, 2, (37, *shape)).astype("float32")  # the last batch has 5
    done = recompute_statistics(model, in_batches(values, 8))
    axes = tuple(one for one in range(values.ndim) if one != axis % values.ndim)
    np.testing.assert_allclose(model.layers[0].moving_mean, values.mean(axes, dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].moving_variance, values.var(axes, dtype="float64"), rtol=1e-5)
    assert done.batches == 5
    assert done.left == ()


@pytest.mark.parametrize("kind", NETS)
def test_with_one_batch_inference_is_what_training_computed(kind: str) -> None:
    """In every layer, however deep: with the population as the batch, its statistics are the batch's."""
    model = accelerate(made(kind), "fp32")
    pictures, _ = data(32)
    expected = keras.ops.convert_to_numpy(model(pictures, training=True))
    weights = [one.numpy() for one in model.trainable_variables]
    done = recompute_statistics(model, [pictures])
    np.testing.assert_allclose(model.predict(pictures, verbose=0), expected, atol=1e-5)
    assert len(done.layers) == len(batch_norms(model))
    assert all(map(np.array_equal, weights, [one.numpy() for one in model.trainable_variables]))


def test_masked_elements_do_not_count() -> None:
    model = keras.Sequential([keras.Input((5, 2)), keras.layers.Masking(-1.0), keras.layers.BatchNormalization()])
    values = np.random.default_rng(0).normal(4, 2, (12, 5, 2)).astype("float32")
    values[3:, 2:] = -1.0
    values[8:] = -1.0  # the last batch is masked altogether
    recompute_statistics(model, in_batches(values, 4))
    seen = values[(values != -1.0).any(axis=-1)].astype("float64")
    np.testing.assert_allclose(model.layers[-1].moving_mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.layers[-1].moving_variance, seen.var(0), rtol=1e-5)


def test_a_layer_used_twice_has_the_statistics_of_both() -> None:
    norm = keras.layers.BatchNormalization()
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    model = keras.Model([left, right], keras.layers.Add()([norm(left), norm(right)]))
    values = np.random.default_rng(0).normal(size=(2, 20, 2)).astype("float32")
    values[1] += 7
    recompute_statistics(model, [((one[:10], one[10:]), None) for one in values])
    np.testing.assert_allclose(norm.moving_mean, values.reshape(-1, 2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, values.reshape(-1, 2).var(0), rtol=1e-5)


def test_other_layers_work_as_in_inference() -> None:
    """With dropout on, the variance would be about twice as large."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()])
    values = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    recompute_statistics(model, in_batches(values, 16))
    np.testing.assert_allclose(model.layers[-1].moving_variance, values.var(0), rtol=1e-5)


def test_frozen_layers_keep_theirs_and_are_used_with_them() -> None:
    frozen, after = keras.layers.BatchNormalization(name="frozen"), keras.layers.BatchNormalization(name="after")
    renorm = keras.layers.BatchNormalization(renorm=True, name="renorm")
    model = keras.Sequential([keras.Input((3,)), frozen, after, renorm], name="net")
    frozen.trainable = False
    frozen.moving_mean.assign([5.0, 5, 5])
    values = np.full((8, 3), 5, "float32") + np.arange(8)[:, None]
    done = recompute_statistics(model, [values.astype("float32")])
    np.testing.assert_array_equal(frozen.moving_mean, [5, 5, 5])
    np.testing.assert_allclose(after.moving_mean, np.full(3, 3.5 / np.sqrt(1 + frozen.epsilon)), rtol=1e-5)
    assert done.layers == ("net/after",)
    assert {one.layer: one.reason for one in done.left} == {
        "net/frozen": "it is frozen (trainable=False)",
        "net/renorm": "renorm=True: it trains with its moving statistics",
    }


def test_batches_may_be_a_dataset_and_without_end() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    values = np.arange(24, dtype="float32").reshape(8, 3)
    dataset = tf.data.Dataset.from_tensor_slices((values, np.zeros(8))).batch(4).repeat()
    assert recompute_statistics(model, dataset, limit=2).batches == 2
    np.testing.assert_allclose(model.layers[0].moving_mean, values.mean(0))


def test_a_large_batch_that_collapses_is_rescued() -> None:
    """Ten steps of Adam leave 0.99 ** 10, nine tenths, of the first statistics: accuracy falls to chance."""
    pictures, labels = data(600)
    pictures = pictures * 4 + 60
    keras.utils.set_random_seed(2)
    model = made("sequential")
    for layer in batch_norms(model):
        layer.momentum = 0.99
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"])
    train, validation = slice(0, 400), slice(400, None)
    accelerate(model, "fp32")
    for _ in range(10):
        model.train_on_batch(pictures[train], labels[train])

    def accuracy() -> float:
        return float(model.evaluate(pictures[validation], labels[validation], verbose=0)[1])

    stale = accuracy()
    recompute_statistics(model, in_batches(pictures[train], 200))
    assert stale < 0.5
    assert accuracy() > 0.9


def test_a_failure_leaves_the_model_as_it_was() -> None:
    model = accelerate(made("sequential"), "fp32")
    before, calls = statistics(model), [layer.call for layer in batch_norms(model)]
    broken, _ = data(4)
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="what reaches .* is not finite"):
        recompute_statistics(model, [broken])
    with pytest.raises(ValueError, match="incompatible with the layer"):
        recompute_statistics(model, [np.zeros((2, 8, 8, 4), "float32")])
    assert all(map(np.array_equal, before, statistics(model)))
    assert [layer.call for layer in batch_norms(model)] == calls


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "there are no batches"),
        (np.zeros((4, 3), "float32"), "received one ndarray; for one batch pass \\[batch\\]"),
        ([np.zeros((1, 3), "float32")], "seen one number for each channel"),
    ],
)
def test_data_that_has_no_statistics_is_refused(batches: Any, message: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    with pytest.raises(DataError, match=message):
        recompute_statistics(model, batches)


def test_a_recorder_can_be_used_again() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    recorder = Recorder(model)
    for offset in (0.0, 9.0):
        values = np.random.default_rng(0).normal(offset, 1, (16, 3)).astype("float32")
        recorder.recompute([values])
        np.testing.assert_allclose(model.layers[0].moving_mean, values.mean(0), atol=1e-5)


def test_training_goes_on_as_before() -> None:
    pictures, labels = data(32)
    losses = []
    for recomputed in (False, True):
        model = compiled(made("functional"))
        model.fit(pictures, labels, batch_size=16, shuffle=False, verbose=0)
        if recomputed:
            recompute_statistics(model, [pictures])
        losses.append(model.fit(pictures, labels, batch_size=16, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]
