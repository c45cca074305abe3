"""Progressive resizing: which sizes epochs have, and that a network made for one size computes at others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pictures import CLASSES, net

from eightfold.data import read_labelled
from eightfold.data.training_data import training_data
from eightfold.errors import ModelError, RecipeError
from eightfold.training.collective import Alone
from eightfold.training.recipe import recipe_for
from eightfold.training.resizing import any_size, half, size_stages
from eightfold.training.sets import picture_sets, training_batches
from eightfold.training.train import Trained, train

SIDE = 64


def pictures(count: int = 60) -> tuple[Any, Any]:
    """uint8 [count, 64, 64, 3] and classes: the colour channel that is bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 120, (count, SIDE, SIDE, 3))
    pixels[np.arange(count), :, :, labels] += 100
    return pixels.astype(np.uint8), labels


def nested(side: int) -> Any:
    """A network with another one in it, as those of keras.applications are used."""
    keras.utils.set_random_seed(4)
    inside = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(inside)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    body = keras.Model(inside, keras.layers.GlobalAveragePooling2D()(x), name="body")
    inputs = keras.Input((side, side, 3))
    x = body(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x), name="nested")


def flattening(side: int) -> Any:
    layers = [keras.layers.Flatten(), keras.layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([keras.Input((side, side, 3)), *layers], name="flattening")


def trained(model: Any, **options: Any) -> Trained:
    settings = {"image_size": SIDE, "epochs": 4, "batch_size": 16, "precision": "fp32", "rate": 0.05}
    return train(pictures(), model, **{**settings, "progressive_resizing": "auto", **options})


@pytest.mark.parametrize(
    ("first", "side", "epochs", "stages"),
    [
        (64, 128, 10, ((5, 64), (3, 96), (2, 128))),
        (112, 224, 20, ((10, 112), (6, 160), (4, 224))),
        (64, 128, 3, ((1, 64), (1, 96), (1, 128))),
        (64, 128, 2, ((1, 64), (1, 128))),
        (96, 112, 5, ((4, 96), (1, 112))),
        (64, 128, 1, ()),
        (128, 128, 10, ()),
    ],
)
def test_pictures_grow_and_end_at_their_whole_size(
    first: int, side: int, epochs: int, stages: tuple[tuple[int, int], ...]
) -> None:
    assert size_stages(first, side, epochs) == stages


@pytest.mark.parametrize(("side", "small"), [(128, 64), (224, 112), (160, 80), (100, 48), (40, 32)])
def test_half_is_a_size_that_networks_can_halve_again(side: int, small: int) -> None:
    assert half(side) == small


def test_a_network_computes_at_another_size_what_one_made_for_that_size_computes() -> None:
    large, small = nested(SIDE), nested(32)
    small.set_weights(large.get_weights())
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="incompatible"):
        large(pixels)
    with any_size(large):
        np.testing.assert_array_equal(large(pixels, training=False), small(pixels, training=False))
    with pytest.raises(ValueError, match="incompatible"):  # as before
        large(pixels)


@pytest.mark.parametrize("model", [net((SIDE, SIDE, 3)), nested(SIDE)], ids=lambda one: one.name)
def test_epochs_grow_and_the_recipe_says_so(model: Any) -> None:
    result = trained(model)
    assert [one.side for one in result.history] == [32, 32, 48, 64]
    assert result.report.recipe.sizes == ((2, 32), (1, 48), (1, 64))
    assert "2104.00298" in result.report.recipe.why["sizes"]
    assert result.model.input_shape == (None, SIDE, SIDE, 3)
    result.model.predict(pictures(3)[0], verbose=0)
    if model.name == "small":
        assert result.report.accuracy > 0.9


def test_an_epoch_is_validated_at_the_size_that_it_trained_at() -> None:
    data = training_data(pictures(), partial(read_labelled, size=SIDE), validation=0.2, seed=0)
    recipe = replace(recipe_for(16, len(data.rows), 4), sizes=size_stages(32, SIDE, 4))
    sets = picture_sets(data, recipe, training_batches(data, recipe), Alone())
    for which in (sets.training, sets.validation, *sets.statistics):
        assert [which(epoch).side for epoch in range(4)] == [32, 32, 48, 64]
        assert [next(iter(which(epoch).dataset()))[0].shape[1] for epoch in range(4)] == [32, 32, 48, 64]


def test_a_target_is_one_for_whole_pictures() -> None:
    result = trained(net((SIDE, SIDE, 3)), epochs=10, target=0.01)
    assert result.report.ended == "target"
    assert [one.side for one in result.history] == [32] * 5 + [48] * 3 + [64]


def test_a_run_that_was_killed_while_pictures_grew_ends_with_the_same_weights(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def killed(stage: str, done: int, total: int | None) -> None:
        if stage == "train" and done == 8:  # in the third epoch, whose pictures have another size
            raise Killed

    def once(**options: Any) -> Trained:
        keras.utils.set_random_seed(3)
        return trained(net((SIDE, SIDE, 3)), output=tmp_path / "run", **options)

    keras.utils.set_random_seed(3)
    whole = trained(net((SIDE, SIDE, 3)))
    with pytest.raises(Killed):
        once(progress=killed)
    for one, other in zip(once(resume=True).model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_of_one_size_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"'flattening' cannot be trained on pictures of 32 x 32: .*without progressive"
    ):
        trained(flattening(SIDE))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"progressive_resizing": 64}, "cannot grow from 64 pixels; expected 32 to 63, or auto"),
        ({"progressive_resizing": 8}, "cannot grow from 8 pixels"),
        ({"progressive_resizing": "half"}, "cannot grow from 'half' pixels"),
        ({"epochs": 1}, "cannot grow in 1 epoch; expected 2 or more"),
        ({"image_size": 32}, "of 32 pixels cannot begin smaller; expected an image size above 32"),
        ({"epochs": "auto"}, "a number of epochs that is left open; expected epochs=N"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        trained(net((SIDE, SIDE, 3)), **options)
