"""A recipe that asks for bands: what is saved is cut, and says the same; everything else knows nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import eightfold as ef
from eightfold.errors import RecipeError
from eightfold.tf.read import read_model

pytestmark = pytest.mark.int8


@pytest.fixture(scope="module")
def net() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((40, 40, 3), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    shortcut = x
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = keras.layers.ReLU()(keras.layers.Add()([keras.layers.Conv2D(16, 1)(x), shortcut]))
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="scores")(x))


@pytest.fixture(scope="module")
def data() -> Any:
    return np.random.default_rng(0).normal(size=(40, 40, 40, 3)).astype(np.float32)


def quantized(net: Any, data: Any, bands: int) -> ef.Quantized:
    return ef.quantize(net, data, recipe=ef.Recipe(bands=bands, fallback=False))


@pytest.mark.parametrize("form", ["saved_model", "frozen"])
def test_the_saved_model_is_in_bands_and_equal(net: Any, data: Any, tmp_path: Path, form: Any) -> None:
    suffix = ".pb" if form == "frozen" else ""
    plain, banded = (quantized(net, data, bands).save(tmp_path / f"{bands}{suffix}", format=form) for bands in (1, 2))
    results = []
    for path in (plain, banded):
        with ef.load(path) as model:
            results.append(next(iter(model(**{next(iter(model.inputs)): data[:5]}).values())))
    np.testing.assert_array_equal(*results)
    counts = [sum(node.op == "_FusedQuantizedConv2D" for node in read_model(path).graph) for path in (plain, banded)]
    assert counts == [4, 8]  # rows of the images of 40, channels of that of 20
    report = ef.read_report(banded)
    assert report.recipe["bands"] == 2
    assert len(report.steps) == len(ef.read_report(plain).steps)


def test_a_saved_model_in_bands_takes_any_batch(net: Any, data: Any, tmp_path: Path) -> None:
    path = quantized(net, data, 3).save(tmp_path / "net")
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    whole = next(iter(signature(image=tf.constant(data[:7])).values())).numpy()
    single = [next(iter(signature(image=tf.constant(one[None])).values())).numpy() for one in data[:7]]
    np.testing.assert_array_equal(whole, np.concatenate(single))


def test_the_recipe_that_is_kept_makes_it_again(net: Any, data: Any, tmp_path: Path) -> None:
    path = quantized(net, data, 2).save(tmp_path / "net")
    assert ef.Recipe.load(path / "assets.extra" / "recipe.toml").bands == 2


@pytest.mark.parametrize("bands", [0, -1, 65, 1.5, True, "2"])
def test_numbers_of_bands_that_make_no_sense(bands: Any) -> None:
    with pytest.raises(RecipeError, match="recipe key 'bands': expected a whole number from 1 to 64"):
        ef.Recipe(bands=bands)
