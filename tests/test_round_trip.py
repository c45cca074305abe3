"""What is saved runs in a process that has never seen eightfold, and computes the same there.

All models are saved first; one process then loads each twice, as TensorFlow 2 and as TensorFlow 1 load models.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import eightfold as ef
from eightfold.graph.ir import Array

pytestmark = pytest.mark.int8

LENIENT = ef.Recipe(fallback=False)

ALONE = """
import json, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "eightfold":
            raise AssertionError("a saved model must not need eightfold")

sys.meta_path.insert(0, Refuse())
import numpy as np
import tensorflow as tf
work = sys.argv[1]
for name in json.load(open(f"{work}/names.json")):
    with np.load(f"{work}/{name}.npz", allow_pickle=True) as file:
        inputs = {key: file[key] for key in file.files}
    call = tf.saved_model.load(f"{work}/{name}").signatures["serving_default"]
    outputs = call(**{key: tf.constant(value) for key, value in inputs.items()})
    np.savez(f"{work}/{name}-tf2.npz", **{key: value.numpy() for key, value in outputs.items()})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], f"{work}/{name}")
        signature = meta.signature_def["serving_default"]
        fetches = {key: info.name for key, info in signature.outputs.items()}
        feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
        np.savez(f"{work}/{name}-tf1.npz", **session.run(fetches, feeds))
"""


def classifier() -> tuple[Any, Any]:
    """Convolution, batch norm, depthwise, pooling, residual sum, concatenation, dense."""
    layers = keras.layers
    x = keras.Input((16, 16, 3), name="image")
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    z = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same")(y))
    y = layers.ReLU()(layers.add([y, layers.Conv2D(16, 1)(z)]))
    y = layers.concatenate([layers.MaxPooling2D()(y), layers.AveragePooling2D(2)(z)])
    scores = layers.Dense(10)(layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, activation="relu")(y)))
    return keras.Model(x, {"scores": scores}), noise(40, 16, 16, 3)


def perceptron() -> tuple[Any, Any]:
    layers = keras.layers
    net = keras.Sequential([keras.Input((20,), name="x"), layers.Dense(32, activation="relu"), layers.Dense(4)])
    return net, noise(40, 20)


def two_inputs() -> tuple[Any, Any]:
    """Inputs of one shape, whose names sort against their order; one output is an input's function alone."""
    kernel = tf.constant(noise(3, 3, 3, 8))
    spec = [tf.TensorSpec((None, None, None, 3), name=name) for name in ("right", "left")]

    def function(right: Any, left: Any) -> dict[str, Any]:
        conv = tf.nn.relu(tf.nn.conv2d(right, kernel, 2, "SAME")) - tf.nn.conv2d(left, kernel, 2, "SAME")
        return {"difference": conv, "brightness": tf.reduce_mean(left, [1, 2, 3])}

    return tf.function(function, input_signature=spec), {
        "left": noise(40, 9, 12, 3, seed=1),
        "right": noise(40, 9, 12, 3),
    }


def words() -> tuple[Any, Any]:
    lookup = keras.layers.StringLookup(vocabulary=["cat", "dog"])
    word = keras.Input((3,), dtype="string", name="word")
    vectors = keras.layers.Flatten()(keras.layers.Embedding(3, 8)(lookup(word)))
    return keras.Model(word, keras.layers.Dense(4)(vectors)), np.array([["cat", "dog", "eel"]] * 20).astype(object)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "classifier": classifier,
    "perceptron": perceptron,
    "two_inputs": two_inputs,
    "words": words,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ef.Quantized]]:
    """Every model quantized, saved, and run alone."""
    work, made = tmp_path_factory.mktemp("alone"), {}
    for name, build in [*MODELS.items(), *((f"{name}_dynamic", build) for name, build in MODELS.items())]:
        keras.utils.set_random_seed(0)
        model, data = build()
        result = ef.quantize(model, data, recipe=LENIENT, dynamic=name.endswith("_dynamic"))
        made[name] = result
        inputs = data if isinstance(data, dict) else {next(iter(result.model.default.inputs)): data}
        np.savez(work / f"{name}.npz", **{key: value[:3] for key, value in inputs.items()})
        result.save(work / name)
    (work / "names.json").write_text(json.dumps(list(made)))
    command = [sys.executable, "-c", ALONE, str(work)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return work, made


@pytest.mark.parametrize("loader", ["tf2", "tf1"])
@pytest.mark.parametrize("name", [*MODELS, *(f"{name}_dynamic" for name in MODELS)])
def test_it_runs_without_eightfold(results: tuple[Path, dict[str, ef.Quantized]], name: str, loader: str) -> None:
    work, made = results
    with np.load(work / f"{name}.npz", allow_pickle=True) as inputs, np.load(work / f"{name}-{loader}.npz") as found:
        expected = made[name](**dict(inputs))
        assert set(found.files) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-6 * np.abs(value).max())
    assert made[name].report.counts


@pytest.mark.parametrize("name", MODELS)
def test_it_is_close_to_the_float_model(results: tuple[Path, dict[str, ef.Quantized]], name: str) -> None:
    for form in (name, f"{name}_dynamic"):
        fidelity = results[1][form].report.fidelity
        assert fidelity is not None
        assert fidelity.sqnr_db > 20


def test_names_shapes_and_free_dimensions_stay(results: tuple[Path, dict[str, ef.Quantized]]) -> None:
    call = tf.saved_model.load(str(results[0] / "two_inputs")).signatures["serving_default"]
    assert call.structured_input_signature == (
        (),
        {name: tf.TensorSpec((None, None, None, 3), tf.float32, name) for name in ("left", "right")},
    )
    assert {name: tuple(spec.shape) for name, spec in call.structured_outputs.items()} == {
        "difference": (None, None, None, 8),
        "brightness": (None,),
    }
    wide = call(left=tf.ones((1, 5, 40, 3)), right=tf.ones((1, 5, 40, 3)))
    assert wide["difference"].shape == (1, 3, 20, 8)
    assert wide["brightness"].numpy() == pytest.approx([1.0], abs=0.01)
