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


def test_saved_models_run_without_eightfold(tmp_path: Path) -> None:
    """One test for all: every process that imports TensorFlow takes seconds."""
    made = {}
    for name, build in MODELS.items():
        for dynamic in (False, True):
            keras.utils.set_random_seed(0)
            model, data = build()
            result = ef.quantize(model, data, recipe=LENIENT, dynamic=dynamic)
            key = f"{name}-dynamic" if dynamic else name
            inputs = data if isinstance(data, dict) else {next(iter(result.model.default.inputs)): data}
            np.savez(tmp_path / f"{key}.npz", **{one: value[:3] for one, value in inputs.items()})
            result.save(tmp_path / key)
            made[key] = result
    (tmp_path / "names.json").write_text(json.dumps(list(made)))
    finished = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for key, result in made.items():
        assert result.report.counts
        assert result.report.fidelity is not None
        assert result.report.fidelity.sqnr_db > 20, key
        with np.load(tmp_path / f"{key}.npz", allow_pickle=True) as inputs:
            expected = result(**dict(inputs))
        for loader in ("tf1", "tf2"):
            with np.load(tmp_path / f"{key}-{loader}.npz") as found:
                assert set(found.files) == set(expected)
                for one, value in expected.items():
                    atol = 1e-6 * np.abs(value).max()
                    np.testing.assert_allclose(found[one], value, rtol=0, atol=atol, err_msg=f"{key} {loader} {one}")


def test_names_shapes_and_free_dimensions_stay(tmp_path: Path) -> None:
    model, data = two_inputs()
    folder = ef.quantize(model, data, recipe=LENIENT).save(tmp_path / "net")
    call = tf.saved_model.load(str(folder)).signatures["serving_default"]
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
