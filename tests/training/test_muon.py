"""Muon against its formula in NumPy, for kernels of every rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import data, made

from eightfold.training.muon import Muon, short_path

SHAPES = ((3, 3, 4, 6), (3, 2, 4), (5, 3), (3, 5), (4,), (3, 3, 4, 1))
HIDDEN = 4
"""So many of the shapes are orthogonalized; the last two are not."""


def start(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape), "float32") for shape in SHAPES]


def orthogonal(matrix: Any) -> Any:
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def expected(gradients: list[list[Any]], rate: float, nesterov: bool) -> list[Any]:
    """In float64: momentum 0.95, and Adam's 0.9 and 0.999."""
    weights = [one.astype("float64") for one in start()]
    means = [np.zeros_like(one) for one in weights]
    squares = [np.zeros_like(one) for one in weights]
    for number, step in enumerate(gradients, start=1):
        for at, gradient in enumerate(step):
            if at < HIDDEN:
                means[at] = 0.95 * means[at] + gradient
                towards = gradient + 0.95 * means[at] if nesterov else means[at]
                matrix = towards.reshape(-1, towards.shape[-1])
                moved = 0.2 * np.sqrt(max(matrix.shape)) * orthogonal(matrix).reshape(towards.shape)
            else:
                means[at] = 0.9 * means[at] + 0.1 * gradient
                squares[at] = 0.999 * squares[at] + 0.001 * gradient**2
                spread = np.sqrt(squares[at] / (1 - 0.999**number))
                moved = means[at] / (1 - 0.9**number) / (spread + 1e-7)
            weights[at] = weights[at] - rate * moved
    return weights


def trained(optimizer: Any, gradients: list[list[Any]], **names: str) -> list[Any]:
    variables = [keras.Variable(one, name=names.get(f"v{at}", f"v{at}")) for at, one in enumerate(start())]

    @tf.function
    def step(*gradient: Any) -> None:
        optimizer.apply(list(gradient), variables)

    optimizer.build(variables)
    for gradient in gradients:
        step(*map(tf.constant, gradient))
    return [one.numpy() for one in variables]


@pytest.mark.parametrize("nesterov", [False, True])
def test_each_step_is_that_of_the_formula(nesterov: bool) -> None:
    gradients = [start(seed) for seed in range(1, 5)]
    found = trained(Muon(0.1, nesterov=nesterov), gradients)
    for one, other in zip(found, expected(gradients, 0.1, nesterov), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_accumulated_gradients_are_one_step_of_their_mean() -> None:
    gradients = [start(seed) for seed in range(1, 5)]
    found = trained(Muon(0.1, gradient_accumulation_steps=2), gradients)
    means = [[np.mean(one, 0) for one in zip(*gradients[at : at + 2], strict=True)] for at in (0, 2)]
    for one, other in zip(found, expected(means, 0.1, True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_all_directions_of_a_step_are_about_equally_long() -> None:
    gradient = start(1)
    found = trained(Muon(1.0), [gradient])
    for one, before in zip(found[:HIDDEN], start(), strict=False):
        matrix = (one - before).reshape(-1, one.shape[-1])
        lengths = np.linalg.svd(matrix, compute_uv=False) / (0.2 * np.sqrt(max(matrix.shape)))
        assert lengths.min() > 0.5
        assert lengths.max() < 1.3


def test_named_kernels_are_trained_by_adam() -> None:
    optimizer = Muon(0.1, exclude=["head"])
    found = trained(optimizer, [start(1)], v2="head")
    np.testing.assert_allclose(np.abs(found[2] - start()[2]), 0.1, rtol=1e-3)  # Adam's first step
    assert [one is None for one in optimizer.squares] == [True, True, False, True, False, False]


def test_kernels_decay_and_what_is_excluded_does_not() -> None:
    variables = [keras.Variable(np.ones((2, 3), "float32")), keras.Variable(np.ones(3, "float32"))]
    optimizer = Muon(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=variables[1:])
    optimizer.apply([tf.zeros((2, 3)), tf.zeros(3)], variables)
    np.testing.assert_allclose(variables[0].numpy(), 0.95, rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), 1.0, rtol=1e-6)


def test_a_net_learns_and_is_saved_with_its_optimizer(tmp_path: Path) -> None:
    pictures, labels = data(96)
    model = made("sequential")
    optimizer = Muon(keras.optimizers.schedules.CosineDecay(0.02, 40), exclude=[short_path(model.layers[-1].kernel)])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    done = model.fit(pictures, labels, epochs=6, batch_size=16, verbose=0)
    assert done.history["accuracy"][-1] > 0.9
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert again.optimizer.get_config() == optimizer.get_config()
    assert not again.optimizer.orthogonalizes(again.layers[-1].kernel)
    for one, other in zip(again.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("name", ["momentum", "beta_1", "beta_2"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0 and below 1, received 1.5"):
        Muon(**{name: 1.5})
