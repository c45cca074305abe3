"""The optimizers and rates that recipes describe, and the momentum of batch norms."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import NETS, data, made

from eightfold.errors import ModelError, RecipeError
from eightfold.training.layers import batch_norms
from eightfold.training.optimizers import optimizer_of, rate_of, set_batch_norm_momentum
from eightfold.training.recipe import TrainingRecipe, recipe_for
from eightfold.training.scaling import REFERENCES

KINDS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "lars": "LARS", "lamb": "Lamb", "muon": "Muon"}


def recipe(**changes: Any) -> TrainingRecipe:
    return TrainingRecipe(**{"optimizer": "sgd", "batch_size": 64, "steps": 20, "rate": 0.5, **changes})


def rates(one: TrainingRecipe) -> list[float]:
    schedule = rate_of(one)
    return [float(schedule(step)) for step in range(one.steps * one.accumulate)]


def test_the_rate_rises_from_the_first_step_on_and_falls_as_half_a_cosine() -> None:
    found = rates(recipe(warmup=4))
    np.testing.assert_allclose(found[:5], [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6)
    wave = [0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    np.testing.assert_allclose(found[4:], wave, rtol=1e-4, atol=1e-7)


def test_it_ends_at_the_final_share() -> None:
    one = recipe(final=0.1)
    assert rates(one)[0] == pytest.approx(0.5)
    assert float(rate_of(one)(one.steps)) == pytest.approx(0.05)


def test_a_constant_rate_stays() -> None:
    np.testing.assert_allclose(rates(recipe(warmup=1, schedule="constant")), [0.25] + [0.5] * 19, rtol=1e-6)


def test_a_run_that_is_all_warmup_has_a_rate() -> None:
    np.testing.assert_allclose(rates(recipe(steps=2, warmup=2)), [0.5 / 3, 1 / 3], rtol=1e-6)


def test_accumulated_steps_stretch_the_schedule() -> None:
    """Keras counts micro-batches."""
    np.testing.assert_allclose(rates(recipe(warmup=4, accumulate=8))[::8], rates(recipe(warmup=4)), rtol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
def test_each_optimizer_is_what_the_recipe_says_and_learns(name: Any) -> None:
    pictures, labels = data(96)
    model = made("nested")
    chosen = recipe_for(16, len(pictures), 6, optimizer=name, weight_decay=0.001)
    optimizer = optimizer_of(chosen, model)
    assert type(optimizer).__name__ == KINDS[name]
    assert optimizer.get_config()["weight_decay"] == 0.001
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    done = model.fit(pictures, labels, batch_size=chosen.micro_batch, epochs=6, verbose=0)
    assert int(optimizer.iterations) == chosen.steps
    assert done.history["loss"][-1] < done.history["loss"][0]


@pytest.mark.parametrize("name", REFERENCES)
def test_biases_scales_and_shifts_do_not_decay(name: Any) -> None:
    """With gradients of zero nothing but decay changes the weights."""
    model = made("functional")
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = optimizer_of(recipe(optimizer=name, weight_decay=0.1, warmup=0), model)
    optimizer.apply([tf.zeros(one.shape) for one in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        changed = bool(np.any(variable.numpy() != 1.0))
        assert changed == (len(variable.shape) >= 2), variable.path


@pytest.mark.parametrize("name", REFERENCES)
def test_micro_batches_make_one_step(name: Any) -> None:
    pictures, labels = data(64)
    model = made("sequential")
    chosen = recipe_for(32, 64, 2, optimizer=name, micro_batch=8)
    model.compile(optimizer_of(chosen, model), "sparse_categorical_crossentropy")
    model.fit(pictures, labels, batch_size=chosen.micro_batch, epochs=2, verbose=0)
    assert (chosen.accumulate, chosen.steps) == (4, 4)
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("kind", NETS)
def test_muon_leaves_the_last_kernel_to_adam(kind: str) -> None:
    model = made(kind)
    optimizer = optimizer_of(recipe(optimizer="muon"), model)
    kernels = [one for one in model.trainable_variables if len(one.shape) >= 2]
    assert [optimizer.orthogonalizes(one) for one in kernels] == [True] * (len(kernels) - 1) + [False]


def test_muon_leaves_embeddings_depthwise_kernels_and_the_last_before_a_softmax_to_adam() -> None:
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 4),
            keras.layers.Reshape((2, 2, 4)),
            keras.layers.DepthwiseConv2D(2, depth_multiplier=3, padding="same"),
            keras.layers.Conv2D(5, 1),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
            keras.layers.Softmax(),
        ]
    )
    model.build((None, 4))
    optimizer = optimizer_of(recipe(optimizer="muon"), model)
    chosen = [one.path for one in model.trainable_variables if optimizer.orthogonalizes(one)]
    assert chosen == [model.layers[3].kernel.path]


def test_the_momentum_of_all_batch_norms_is_set() -> None:
    model = made("nested")
    assert set_batch_norm_momentum(model, 0.75) == len(batch_norms(model)) == 1
    assert [layer.momentum for layer in batch_norms(model)] == [0.75]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeError, match="must be a number from 0 to 1, received 2"):
        set_batch_norm_momentum(made("sequential"), 2)
    with pytest.raises(ModelError, match="has no weights yet"):
        optimizer_of(recipe(), keras.Sequential([keras.layers.Dense(2)]))
