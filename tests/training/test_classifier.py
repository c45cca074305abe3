"""The network that is trained: what it is made from, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from nets import functional

from eightfold.bench.named import named
from eightfold.data.preprocess import PREPROCESSING
from eightfold.errors import ModelError
from eightfold.training.classifier import classifier, default_side


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own with several functions."""
    (tmp_path / "mynets.py").write_text(
        "import keras\n"
        "def small(input_shape, classes):\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])\n"
        "def wrong(input_shape, classes):\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(7)])\n"
        "def nothing(input_shape, classes):\n"
        "    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    return "mynets"


def test_a_network_by_name_takes_pixels_and_gives_probabilities() -> None:
    model = classifier("MobileNetV2", side=32, classes=3)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    scores = np.asarray(model(pixels))
    assert scores.shape == (2, 3)
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)
    other, same = (classifier("mobilenetv2", side=32, classes=3, seed=seed) for seed in (1, 0))
    kernels = [np.asarray(one.trainable_variables[0]) for one in (model, same, other)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "densenet121", "efficientnetb0"])
def test_the_network_does_what_else_is_done_to_pixels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def body(architecture: Any, shape: Any, weights: str, seed: int) -> Any:
        inputs = keras.Input(shape)
        taken.append(keras.Model(inputs, inputs))
        return keras.Sequential([keras.Input(shape), keras.layers.Identity(name="seen"), keras.layers.Flatten()])

    monkeypatch.setattr("eightfold.training.classifier._body", body)
    model = classifier(name, side=4, classes=2)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Sequential))
    seen = np.asarray(keras.Model(model.input, inner.output)(pixels)).reshape(pixels.shape)
    architecture = named(name)
    assert architecture is not None
    expected = PREPROCESSING[architecture.preprocess](pixels.copy())
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "densenet121"])
def test_preprocessing_is_saved_with_the_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(architecture: Any, shape: Any, weights: str, seed: int) -> Any:
        return keras.Sequential([keras.Input(shape), keras.layers.GlobalAveragePooling2D()])

    monkeypatch.setattr("eightfold.training.classifier._body", body)
    model = classifier(name, side=4, classes=2)
    model.save(tmp_path / "net.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 3)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(np.asarray(loaded(pixels)), np.asarray(model(pixels)))


def test_a_function_of_the_users_own(own: str) -> None:
    model = classifier(f"{own}:small", side=8, classes=3)
    assert model.input_shape == (None, 8, 8, 3)
    with pytest.raises(ModelError, match=r"gives \(None, 7\); expected one output of scores \(batch, 3\)"):
        classifier(f"{own}:wrong", side=8, classes=3)
    with pytest.raises(ModelError, match="gave a NoneType; expected a Keras 3 model"):
        classifier(f"{own}:nothing", side=8, classes=3)
    with pytest.raises(ModelError, match="has no 'absent'"):
        classifier(f"{own}:absent", side=8, classes=3)


def test_a_model_and_a_file(tmp_path: Path) -> None:
    model = functional()
    assert classifier(model, side=8, classes=3) is model
    assert default_side(model) == 8
    with pytest.raises(
        ModelError, match=r"takes \(None, 8, 8, 3\); expected one input of pictures \(batch, 16, 16, 3\)"
    ):
        classifier(model, side=16, classes=3)
    model.save(tmp_path / "net.keras")
    loaded = classifier(str(tmp_path / "net.keras"), side=8, classes=3)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_to_begin_with(tmp_path: Path) -> None:
    model = classifier("mobilenetv2", side=32, classes=3, seed=5)
    model.save_weights(tmp_path / "net.weights.h5")
    model.save(tmp_path / "net.keras")
    for file in ("net.weights.h5", "net.keras"):
        other = classifier("mobilenetv2", side=32, classes=3, weights=str(tmp_path / file))
        for one, wanted in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, wanted)
    with pytest.raises(ModelError, match="do not fit"):
        classifier("mobilenetv2", side=32, classes=4, weights=str(tmp_path / "net.weights.h5"))
    with pytest.raises(ModelError, match="there are no weights at"):
        classifier("mobilenetv2", side=32, classes=4, weights=str(tmp_path / "absent.h5"))


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://example.org: None -- timed out")

    monkeypatch.setattr(keras.utils, "get_file", fails)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fails)
    with pytest.raises(ModelError, match="the ImageNet weights of MobileNetV2 cannot be had: URL fetch failure"):
        classifier("mobilenetv2", side=96, classes=3, weights="imagenet")


def test_networks_that_do_not_exist_or_fit() -> None:
    with pytest.raises(ModelError, match="there is no model at resnet5"):
        classifier("resnet5", side=32, classes=3)
    with pytest.raises(ModelError, match="InceptionV3 cannot be made for pictures"):
        classifier("inceptionv3", side=32, classes=3)
    assert default_side("inceptionv3") == 299
