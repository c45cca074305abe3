"""Transfer learning: the body keeps its weights, its features are computed once, and the head learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pictures import CLASSES, SIDE, net, pictures

from eightfold.data.labelled import read_labelled
from eightfold.data.training_data import TrainingData
from eightfold.errors import DataError, ModelError, RecipeError
from eightfold.system.memory import Memory
from eightfold.training.collective import Alone
from eightfold.training.features import computed, fitting_views
from eightfold.training.frozen import frozen, parted
from eightfold.training.recipe import recipe_for
from eightfold.training.sets import training_batches
from eightfold.training.train import Trained, train


def model(dropout: float = 0.0) -> Any:
    keras.utils.set_random_seed(3)
    return net(dropout=dropout)


def branching() -> Any:
    """A network whose last two layers with weights both see the body."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(inputs))
    one, other = keras.layers.Dense(CLASSES)(x), keras.layers.Dense(CLASSES)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.Add()([one, other])), name="branching")


def trained(of: Any, **options: Any) -> Trained:
    settings = {"image_size": SIDE, "epochs": 4, "batch_size": 16, "precision": "fp32", "rate": 0.5, "freeze": True}
    return train(pictures(), of, **{**settings, **options})


def values(those: Any) -> list[Any]:
    return [np.asarray(one) for one in those]


def test_only_the_last_layer_is_trained_and_all_are_trainable_again() -> None:
    of = model()
    before = values(of.layers[1].weights)
    last = values(of.layers[-1].weights)
    result = trained(of)
    assert result.model is of
    for one, other in zip(values(of.layers[1].weights), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(*both) for both in zip(values(of.layers[-1].weights), last, strict=True))
    assert all(layer.trainable for layer in of.layers)
    assert result.report.accuracy > 0.9
    assert result.report.views == 4
    found = of.predict(pictures(30)[0], verbose=0).argmax(-1)
    assert (found == pictures(30)[1]).mean() > 0.9


def test_features_give_the_same_steps_as_pictures() -> None:
    """Unless pictures are changed at random, each step sees what it would see without the cache."""
    by_features, by_pictures = model(), model()
    cached = trained(by_features, augment=False)
    for layer in by_pictures.layers[:-1]:
        layer.trainable = False
    whole = trained(by_pictures, augment=False, freeze=False)
    np.testing.assert_allclose([one.loss for one in cached.history], [one.loss for one in whole.history], rtol=1e-5)
    for one, other in zip(by_features.weights, by_pictures.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_views_are_changed_pictures_after_the_first() -> None:
    data = read_labelled(pictures(40), size=SIDE)
    given = TrainingData(data, np.arange(5, 35), data, np.arange(5), (), ())
    plan = training_batches(given, recipe_for(8, 30, 4), seed=1)
    body, _ = parted_of(model())
    epochs = computed(body, plan, 3, Alone())
    assert epochs.features.shape == (3, 30, 16)
    plain = body.predict(pictures(40)[0][5:35].astype(np.float32), verbose=0)
    np.testing.assert_allclose(epochs.features[0], plain, rtol=1e-5, atol=1e-5)
    assert np.abs(epochs.features[1] - plain).max() > 0.01
    for epoch in (0, 4):
        for number, (features, labels) in enumerate(epochs.dataset(epoch)):
            rows = plan.rows_of(epoch, number)
            np.testing.assert_array_equal(labels, data.labels[rows])
            np.testing.assert_array_equal(features, epochs.features[epoch % 3][rows - 5])


def parted_of(of: Any) -> tuple[Any, Any]:
    with frozen(of):
        return parted(of)


def test_body_and_head_are_the_model() -> None:
    of = model()
    body, head = parted_of(of)
    pixels = pictures(4)[0].astype(np.float32)
    np.testing.assert_allclose(head(body(pixels)), of(pixels), rtol=1e-6)
    assert len(head.trainable_variables) == 2


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def killed(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise Killed

    whole = trained(model())
    with pytest.raises(Killed):
        trained(model(), output=tmp_path / "run", on_epoch=killed)
    with pytest.raises(DataError, match="body: frozen, [0-9a-f]{12} then, trained now"):
        trained(model(), output=tmp_path / "run", resume=True, freeze=False)
    resumed = trained(model(), output=tmp_path / "run", resume=True)
    for one, other in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    again = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert all(layer.trainable for layer in again.layers)


def test_a_run_goes_on_only_with_the_same_body(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def killed(epoch: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        trained(model(), output=tmp_path / "run", on_epoch=killed)
    other = model()
    other.layers[1].kernel.assign(other.layers[1].kernel * 2)
    with pytest.raises(DataError, match=r"cannot be resumed \(body: frozen, "):
        trained(other, output=tmp_path / "run", resume=True)


def test_dropout_before_the_last_layer_is_part_of_the_head() -> None:
    body, head = parted_of(model(dropout=0.5))
    assert "dropout" not in " ".join(layer.name for layer in body.layers)
    assert any(isinstance(layer, keras.layers.Dropout) for layer in head.layers)


def test_a_sequential_network_that_was_saved_is_parted(tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)]
    made = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers, keras.layers.Softmax()])
    made.save(tmp_path / "made.keras")
    loaded = keras.saving.load_model(tmp_path / "made.keras")
    body, head = parted_of(loaded)
    pixels = pictures(4)[0].astype(np.float32)
    np.testing.assert_allclose(head(body(pixels)), loaded(pixels), rtol=1e-5)


def test_a_network_of_any_size_is_trained_on_features_of_one() -> None:
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(CLASSES, 1)(x))
    result = trained(keras.Model(inputs, keras.layers.Softmax()(x), name="open"), epochs=1)
    assert result.report.views == 1


def test_as_many_views_as_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    body, _ = parted_of(model())
    found = Memory(total=10**9, available=4 * 16 * 1000 * 10)  # ten views; a quarter is two and a half
    monkeypatch.setattr("eightfold.training.features.memory", lambda: found)
    assert fitting_views(body, 10, 1000, augmented=True) == 2
    assert fitting_views(body, 1, 1000, augmented=True) == 1
    assert fitting_views(body, 10, 100, augmented=True) == 4
    assert fitting_views(body, 10, 1000, augmented=False) == 1

    class Poorer(Alone):
        count = 2

        def gather(self, value: Any) -> list[Any]:
            return [value, value / 2]

    assert fitting_views(body, 10, 400, Poorer(), augmented=True) == 1
    with pytest.raises(DataError, match=r"features of 5000 pictures need .* GB; expected at most .* GB"):
        fitting_views(body, 10, 5000, augmented=True)


def test_what_cannot_be_parted_is_refused() -> None:
    branched = branching()
    branched.layers[1].trainable = False
    with pytest.raises(ModelError, match=r"'branching' cannot be parted before .*expected one tensor between"):
        parted(branched)
    alone = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    with pytest.raises(ModelError, match="no last layer apart from a body that could be frozen"):
        trained(alone)
    last = model()
    last.layers[-1].trainable = False
    with pytest.raises(ModelError, match="has none that can be trained; expected one with trainable=True"):
        trained(last)


@pytest.mark.parametrize(
    ("of", "options", "words"),
    [
        ("mobilenetv2", {}, "mobilenetv2 would be frozen with weights that were never trained; expected .*imagenet"),
        (None, {"progressive_resizing": "auto"}, "pictures cannot grow"),
    ],
)
def test_what_makes_no_sense_is_refused(of: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        trained(of or model(), **options)
