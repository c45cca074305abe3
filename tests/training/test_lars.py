"""LARS against its formula in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import data, made

from eightfold.training.lars import LARS

SHAPES = ((3, 3, 2, 4), (5, 3), (4,), ())


def start(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape), "float32") for shape in SHAPES]


def expected(
    gradients: list[list[Any]], rates: list[float], momentum: float, trust: float, decay: float, nesterov: bool
) -> list[Any]:
    """Algorithm 1 of the paper, in float64."""
    weights = [one.astype("float64") for one in start()]
    velocities = [np.zeros_like(one) for one in weights]
    for step, rate in zip(gradients, rates, strict=True):
        for at, gradient in enumerate(step):
            moved = rate * gradient
            if weights[at].ndim >= 2:
                norm = np.linalg.norm(weights[at])
                ratio = trust * norm / (np.linalg.norm(gradient) + decay * norm)
                moved = rate * ratio * (gradient + decay * weights[at])
            velocities[at] = momentum * velocities[at] + moved
            weights[at] = weights[at] - (momentum * velocities[at] + moved if nesterov else velocities[at])
    return weights


def trained(optimizer: Any, gradients: list[list[Any]]) -> list[Any]:
    variables = [keras.Variable(one) for one in start()]

    @tf.function
    def step(*gradient: Any) -> None:
        optimizer.apply(list(gradient), variables)

    optimizer.build(variables)
    for gradient in gradients:
        step(*map(tf.constant, gradient))
    return [one.numpy() for one in variables]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_each_step_is_that_of_the_paper(nesterov: bool, decay: float) -> None:
    gradients = [start(seed) for seed in range(1, 6)]
    optimizer = LARS(2.0, momentum=0.8, trust=0.02, nesterov=nesterov, weight_decay=decay)
    for steps in range(1, 6):
        found = trained(LARS.from_config(optimizer.get_config()), gradients[:steps])
        wanted = expected(gradients[:steps], [2.0] * steps, 0.8, 0.02, decay, nesterov)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_rate_follows_a_schedule() -> None:
    gradients = [start(seed) for seed in range(1, 5)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [4.0, 1.0, 0.5])
    found = trained(LARS(schedule, trust=0.01), gradients)
    for one, other in zip(found, expected(gradients, [4.0, 4.0, 1.0, 0.5], 0.9, 0.01, 0.0, False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_accumulated_gradients_are_one_step_of_their_mean() -> None:
    gradients = [start(seed) for seed in range(1, 7)]
    found = trained(LARS(1.0, trust=0.1, weight_decay=0.1, gradient_accumulation_steps=3), gradients)
    means = [[np.mean(one, 0) for one in zip(*gradients[at : at + 3], strict=True)] for at in (0, 3)]
    for one, other in zip(found, expected(means, [1.0, 1.0], 0.9, 0.1, 0.1, False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero", ["weights", "gradient", "both"])
def test_without_a_norm_the_ratio_is_one(zero: str) -> None:
    weights = np.zeros((2, 2), "float32") if zero in ("weights", "both") else np.ones((2, 2), "float32")
    gradient = np.zeros((2, 2), "float32") if zero in ("gradient", "both") else np.ones((2, 2), "float32")
    variable = keras.Variable(weights)
    LARS(0.5, momentum=0.0, weight_decay=0.1).apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(variable.numpy(), weights - 0.5 * (gradient + 0.1 * weights), rtol=1e-6)


def test_how_far_a_layer_goes_does_not_depend_on_its_gradient() -> None:
    gradient = start(1)
    near = trained(LARS(1.0, trust=0.01), [gradient])
    far = trained(LARS(1.0, trust=0.01), [[1000 * one for one in gradient]])
    for one, other, before in zip(near[:2], far[:2], start()[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(one - before), 0.01 * np.linalg.norm(before), rtol=1e-4)


def test_what_is_excluded_from_decay_has_none_and_is_adapted_all_the_same() -> None:
    variables = [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in ("kept", "decayed")]
    optimizer = LARS(1.0, momentum=0.0, trust=0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=variables[:1])
    gradient = np.asarray([[1, -1], [1, -1]], "float32")
    optimizer.apply([tf.constant(gradient)] * 2, variables)
    np.testing.assert_allclose(variables[0].numpy(), 1 - 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), 1 - 0.1 * 2 / (2 + 0.5 * 2) * (gradient + 0.5), rtol=1e-6)


def test_rows_of_an_embedding_that_were_not_looked_up_are_kept() -> None:
    model = keras.Sequential([keras.layers.Embedding(6, 4), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.build((None, 3))
    model.compile(LARS(1.0, momentum=0.0, trust=0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.layers[0].embeddings.numpy()
    model.fit(np.asarray([[0, 1, 2]]), np.asarray([1]), verbose=0)
    changed = np.abs(model.layers[0].embeddings.numpy() - before).max(1) > 0
    assert changed.tolist() == [True] * 3 + [False] * 3


def test_a_net_learns_and_is_saved_with_its_optimizer(tmp_path: Path) -> None:
    pictures, labels = data(96)
    model = made("sequential")
    schedule = keras.optimizers.schedules.CosineDecay(10.0, 40)
    optimizer = LARS(schedule, nesterov=True, weight_decay=1e-4)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    done = model.fit(pictures, labels, epochs=6, batch_size=16, verbose=0)
    assert done.history["accuracy"][-1] > 0.9
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert again.optimizer.get_config() == optimizer.get_config()
    for one, other in zip(again.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, received 1.0"),
        ({"trust": 0.0}, "trust must be above 0, received 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be None or at least 0, received -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LARS(**wrong)
