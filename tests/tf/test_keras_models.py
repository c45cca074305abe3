"""Keras models: files and objects, of Keras 3 and of tf_keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_models import ops, run, seeded

import eightfold as ef
from eightfold.errors import ModelError

X = seeded(3, 8, 8, 3)


def small() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="picture"),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5),
        ]
    )


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.dense = keras.layers.Conv2D(4, 3), keras.layers.Dense(2)

    def call(self, x: Any, training: bool = False) -> Any:
        return {"logits": self.dense(keras.ops.mean(self.convolution(x), (1, 2)))}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files(tmp_path: Path, suffix: str) -> None:
    net = small()
    net.save(tmp_path / f"net{suffix}")
    model = ef.export(tmp_path / f"net{suffix}")
    (name,) = model.default.inputs
    np.testing.assert_allclose(run(model, **{name: X})["output_0"], net(X), atol=1e-5)
    assert model.origin == str(tmp_path / f"net{suffix}")


def test_batch_norm_folds_and_dropout_goes() -> None:
    model = ef.export(small())
    assert ops(model) == ["Placeholder", "Conv2D", "BiasAdd", "Relu", "Mean", "MatMul", "BiasAdd"]
    assert model.default.name == "serving_default"


def test_subclassed() -> None:
    net = Subclassed()
    with pytest.raises(ModelError, match="could not export the model 'subclassed': .*built"):
        ef.export(net)
    expected = net(X)["logits"]
    model = ef.export(net)
    np.testing.assert_allclose(run(model, args_0=X)["logits"], expected, atol=1e-5)


@pytest.mark.parametrize("form", ["list", "dict"])
def test_functional_with_like_inputs_in_another_order(form: str) -> None:
    """Bound by position, the two would be swapped: their shapes are equal and the names sort the other way."""
    last, first = keras.Input((4,), name="z_last"), keras.Input((4,), name="a_first")
    y = keras.layers.Dense(2)(last) - 3 * keras.layers.Dense(2)(first)
    inputs = [last, first] if form == "list" else {"z_last": last, "a_first": first}
    net = keras.Model(inputs, {"out": y})
    a, z = seeded(3, 4, seed=1), seeded(3, 4, seed=2)
    expected = net([z, a] if form == "list" else {"z_last": z, "a_first": a})["out"]
    np.testing.assert_allclose(run(ef.export(net), a_first=a, z_last=z)["out"], expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_recurrent_layers_of_any_length(layer: str) -> None:
    net = keras.Sequential([keras.Input((None, 6)), getattr(keras.layers, layer)(5), keras.layers.Dense(3)])
    model = ef.export(net)
    (name,) = model.default.inputs
    for length in (2, 9):
        x = seeded(2, length, 6)
        np.testing.assert_allclose(run(model, **{name: x})["output_0"], net(x), atol=1e-5)
    assert "While" in ops(model)


def test_embedding() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(11, 6),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )
    words = np.random.default_rng(0).integers(0, 11, (4, 7)).astype(np.int32)
    model = ef.export(net)
    (name,) = model.default.inputs
    np.testing.assert_allclose(run(model, **{name: words})["output_0"], net(words), atol=1e-5)


def test_string_lookup() -> None:
    lookup = keras.layers.StringLookup(vocabulary=["cat", "dog"])
    word = keras.Input((2,), dtype="string", name="word")
    net = keras.Model(word, keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Embedding(3, 4)(lookup(word)))))
    words = np.array([[b"cat", b"dog"], [b"bird", b"cat"]], object)
    expected = net(keras.ops.convert_to_tensor(words))
    np.testing.assert_allclose(run(ef.export(net), word=words)["output_0"], expected, atol=1e-5)


def test_preprocessing_and_augmentation_layers() -> None:
    """Random layers pass their input on; that they count their seeds all the same must not stand in the way."""
    layers = keras.layers
    scale = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    augment = [layers.RandomFlip(), layers.RandomRotation(0.2), layers.GaussianNoise(0.3), layers.SpatialDropout2D(0.5)]
    net = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0), scale, *augment, layers.Conv2D(4, 3)])
    model = ef.export(net)
    (name,) = model.default.inputs
    np.testing.assert_allclose(run(model, **{name: X})["output_0"], net(X, training=False), atol=1e-5)


def test_augmentation_nested_in_a_model_of_several_inputs() -> None:
    layers = keras.layers
    augment = keras.Sequential([layers.RandomFlip(), layers.RandomContrast(0.5)])
    picture, weight = keras.Input((8, 8, 3), name="picture"), keras.Input((4,), name="also")
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(augment(picture))) * weight
    net = keras.Model({"picture": picture, "also": weight}, {"y": y})
    inputs = {"picture": X, "also": seeded(3, 4)}
    model = ef.export(net)
    np.testing.assert_allclose(run(model, **inputs)["y"], net(inputs, training=False)["y"], atol=1e-5)
    assert not any("Random" in op for op in ops(model))


def test_mixed_precision() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, dtype="mixed_float16"), layers.Flatten(), layers.Dense(2)]
    )
    model = ef.export(net)
    (name,) = model.default.inputs
    np.testing.assert_allclose(run(model, **{name: X})["output_0"], net(X), atol=1e-2)
    assert str(model.default.outputs["output_0"]) == "float32[?, 2]"


TF_KERAS = """
import sys
import numpy as np, tf_keras
sys.path[:0] = sys.argv[2:]
import eightfold as ef
from small_models import run
layers = tf_keras.layers
net = tf_keras.Sequential([
    layers.Input((8, 8, 3), name="picture"), layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(),
    layers.ReLU(6.0), layers.Dropout(0.5), layers.Flatten(), layers.Dense(5)])
x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
expected = net(x).numpy()
folder = sys.argv[1]
net.save(folder + "/old.h5")
net.save(folder + "/saved")
a, b = tf_keras.Input((4,), name="z"), tf_keras.Input((4,), name="a")
two = tf_keras.Model([a, b], layers.Dense(2, name="out")(a) - 3 * layers.Dense(2)(b))
p, q = np.ones((2, 4), np.float32), np.full((2, 4), 2, np.float32)
found = next(iter(run(ef.export(two), z=p, a=q).values()))
assert np.abs(found - two([p, q]).numpy()).max() < 1e-5
for source in (net, folder + "/saved", folder + "/old.h5"):
    model = ef.export(source)
    (name,) = model.default.inputs
    (found,) = run(model, **{name: x}).values()
    assert np.abs(found - expected).max() < 1e-5, source
    ops = [node.op for node in model.graph if node.op != "Const"]
    assert ops == ["Placeholder", "Conv2D", "BiasAdd", "Relu6", "Reshape", "MatMul", "BiasAdd"], ops
print("all equal")
"""


def test_tf_keras_objects_and_files(tmp_path: Path) -> None:
    """In a process of its own: Keras 2 and 3 register the same custom objects."""
    pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    places = [str(Path(ef.__file__).parents[1]), str(Path(__file__).parent)]
    command = [sys.executable, "-c", TF_KERAS, str(tmp_path), *places]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "all equal" in finished.stdout
