"""A step that workers make together is that of one process with the whole batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import CLASSES, SHAPE, data

from eightfold.data.labelled import read_labelled
from eightfold.data.training_data import TrainingData
from eightfold.training.collective import Alone
from eightfold.training.recipe import recipe_for
from eightfold.training.sets import picture_sets, training_batches
from eightfold.training.step import Steps


class OneOfTwo(Alone):
    """One of two workers, who is told the sums; without them it only notes what it would add."""

    count = 2

    def __init__(self, sums: list[Any] | None = None) -> None:
        super().__init__()
        self.added: list[Any] = []
        self._sums = sums

    def sums(self, tensors: Any) -> list[Any]:
        def noted(*values: Any) -> list[Any]:
            self.added = [np.array(value) for value in values]
            return self.added if self._sums is None else self._sums

        found = tf.numpy_function(noted, tensors, [tf.float32] * len(tensors))
        return [tf.ensure_shape(one, tensor.shape) for one, tensor in zip(found, tensors, strict=True)]


def steps(worker: Alone, class_weights: dict[int, float] | None) -> Steps:
    """Of a net without batch norms, which take the statistics of each worker's share."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    head = keras.layers.Dense(CLASSES, activation="softmax")
    model = keras.Sequential([keras.Input(SHAPE), *layers, head])
    return Steps(model, keras.optimizers.SGD(0.5), class_weights=class_weights, collective=worker)


@pytest.mark.parametrize("class_weights", [None, {0: 10.0, 1: 1.0}], ids=["alike", "balanced, one class unseen"])
def test_shares_of_a_batch_make_the_step_of_the_batch(class_weights: dict[int, float] | None) -> None:
    pixels, labels = data(7)
    labels = (labels % 2).astype(np.int32)
    alone = steps(Alone(), class_weights)
    wanted = [float(one) for one in alone.train(pixels, labels)]
    both = [OneOfTwo(), OneOfTwo()]
    for rank, worker in enumerate(both):
        steps(worker, class_weights).train(pixels[rank::2], labels[rank::2])
    sums = [one + other for one, other in zip(both[0].added, both[1].added, strict=True)]
    for rank in range(2):
        mine = steps(OneOfTwo(sums), class_weights)
        found = [float(one) for one in mine.train(pixels[rank::2], labels[rank::2])]
        assert found == pytest.approx(wanted, rel=1e-5)
        for variable, whole in zip(mine.model.weights, alone.model.weights, strict=True):
            np.testing.assert_allclose(variable, whole, rtol=1e-5, atol=1e-6)


def test_a_last_batch_of_fewer_pictures_than_workers_is_left_out() -> None:
    pixels, labels = np.zeros((13, 8, 8, 3), np.uint8), np.arange(13) % 3
    given = read_labelled((pixels, labels), size=8)
    pictures = TrainingData(given, np.arange(9), given, np.arange(9, 13), (), ())
    recipe = recipe_for(4, 9, 2)
    batches = training_batches(pictures, recipe)
    for count, steps_of_each in ((1, 3), (2, 2)):
        worker = OneOfTwo()
        worker.count = count
        sets = picture_sets(pictures, recipe, batches, worker)
        assert sets.training(0).steps == steps_of_each
        assert all(len(found) for _, found in sets.training(0).dataset())
        assert sum(len(found) for _, found in sets.validation(0).dataset()) == 4 // count
