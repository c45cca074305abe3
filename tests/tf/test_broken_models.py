"""Models that cannot be used: one sentence each, of the class that becomes exit code 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import graph_of, run, save_v1, seeded
from tensorflow.core.protobuf import saved_model_pb2

import eightfold as ef
from eightfold.errors import ModelError
from eightfold.tf import freeze


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one net as `saved/`, `net.keras` and `net.h5`."""
    folder = tmp_path_factory.mktemp("sound")
    layers = keras.layers
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(2)])
    net.export(folder / "saved", verbose=False)
    net.save(folder / "net.keras")
    net.save(folder / "net.h5")
    return folder


def refused(source: Any, match: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        ef.export(source, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.onnx").write_bytes(b"x")
    refused(tmp_path / "nothing", "there is no model at .*nothing; expected a SavedModel folder")
    refused(tmp_path / "empty", "holds no saved_model.pb and no checkpoint")
    refused(tmp_path / "net.onnx", "not a model file that eightfold knows .suffix '.onnx'.")
    refused(3, "int is not a model; expected")


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda content: b"\x00\x01 garbage" * 20, "saved_model.pb is damaged"),
        (lambda content: content[: len(content) // 2], "saved_model.pb is damaged"),
        (lambda content: b"", "saved_model.pb holds no graph"),
    ],
    ids=["garbage", "truncated", "empty"],
)
def test_damaged_saved_model(sound: Path, tmp_path: Path, damage: Callable[[bytes], bytes], match: str) -> None:
    shutil.copytree(sound / "saved", tmp_path / "saved")
    file = tmp_path / "saved" / "saved_model.pb"
    file.write_bytes(damage(file.read_bytes()))
    refused(tmp_path / "saved", match)


def test_saved_model_with_damaged_variables(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "saved", tmp_path / "saved")
    file = next((tmp_path / "saved" / "variables").glob("*.data-*"))
    file.write_bytes(file.read_bytes()[:50])
    refused(tmp_path / "saved", "could not be loaded as a SavedModel: (?!Graph execution error)")
    shutil.rmtree(tmp_path / "saved" / "variables")
    refused(tmp_path / "saved", "could not be loaded as a SavedModel: .*not a valid checkpoint")


def test_saved_model_without_signature(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    refused(tmp_path, "has no signature to call it by")


def test_saved_model_of_a_newer_tensorflow(sound: Path, tmp_path: Path) -> None:
    """Its ops are unknown, whether they stand in the graph or in a function."""
    shutil.copytree(sound / "saved", tmp_path / "saved")
    file = tmp_path / "saved" / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for function in proto.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "ReluV9" if node.op == "Relu" else node.op
    file.write_bytes(proto.SerializeToString())
    refused(tmp_path / "saved", "does not know the op 'ReluV9', which a newer TensorFlow")


def test_frozen_graph_of_a_newer_tensorflow(tmp_path: Path) -> None:
    graph_def = graph_of(lambda: tf.nn.relu(tf.compat.v1.placeholder(tf.float32, (3,)))).as_graph_def()
    graph_def.node[1].op = "ReluV9"
    (tmp_path / "net.pb").write_bytes(graph_def.SerializeToString())
    refused(tmp_path / "net.pb", "does not know the op 'ReluV9'")


def test_damaged_frozen_graphs(tmp_path: Path) -> None:
    (tmp_path / "garbage.pb").write_bytes(b"garbage" * 9)
    (tmp_path / "empty.pb").write_bytes(b"")
    (tmp_path / "garbage.pbtxt").write_text("node { garbage")
    refused(tmp_path / "garbage.pb", "is damaged: it is not a GraphDef")
    refused(tmp_path / "empty.pb", "holds an empty graph")
    refused(tmp_path / "garbage.pbtxt", "is damaged: it is not a GraphDef")


def test_a_graph_that_is_not_frozen(tmp_path: Path) -> None:
    graph = graph_of(lambda: tf.compat.v1.get_variable("w", (3,)))
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    refused(tmp_path / "net.pb", "is not frozen: 'w' is a variable")


def test_a_graph_without_inputs_or_outputs(tmp_path: Path) -> None:
    graph = graph_of(lambda: tf.constant(1.0))
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    refused(tmp_path / "net.pb", "no input was found in the graph; name it with --inputs")


def test_damaged_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "model.meta").write_bytes(b"garbage" * 9)
    refused(tmp_path / "model", "could not be restored")


def test_damaged_keras_files(sound: Path, tmp_path: Path) -> None:
    whole = (sound / "net.keras").read_bytes()
    (tmp_path / "truncated.keras").write_bytes(whole[:500])
    (tmp_path / "flipped.keras").write_bytes(whole[:300] + b"x" * 200 + whole[500:])
    refused(tmp_path / "truncated.keras", "is damaged: a .keras file is a zip archive")
    refused(tmp_path / "flipped.keras", "Keras could not load .*flipped.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_files_with_a_class_of_the_user(tmp_path: Path, suffix: str) -> None:
    if suffix == ".h5":
        pytest.importorskip("tf_keras", reason="tf_keras is not installed")

    class Double(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    net = keras.Sequential([keras.Input((4,)), Double(), keras.layers.Dense(3)])
    net.save(tmp_path / f"net{suffix}")
    refused(tmp_path / f"net{suffix}", "it has the class 'Double', which Keras does not know; load it with")
    loaded = keras.saving.load_model(tmp_path / f"net{suffix}", custom_objects={"Double": Double}, compile=False)
    x = seeded(2, 4)
    (found,) = run(ef.export(loaded), **{next(iter(ef.export(loaded).default.inputs)): x}).values()
    np.testing.assert_allclose(found, net(x), atol=1e-6)


@pytest.mark.parametrize("name", ["saved_model.pb", "net.pb"])
def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(b"")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    refused(tmp_path / name, f"{name} cannot be read: Permission denied")


@pytest.mark.parametrize("content", [b"garbage" * 99, b""], ids=["garbage", "empty"])
def test_files_that_are_no_h5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.h5").write_bytes(content)
    refused(tmp_path / "net.h5", "net.h5 is damaged: a .h5 file is an HDF5 file, and this is not one")


@pytest.mark.parametrize("kind", ["truncated", "weights only"])
def test_damaged_h5_files(sound: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    path = tmp_path / "net.weights.h5"
    whole = (sound / "net.h5").read_bytes()
    path.write_bytes(whole[:3000])
    if kind == "weights only":
        keras.saving.load_model(sound / "net.keras").save_weights(path)
    refused(path, "neither Keras 3 nor tf_keras could load .*net.weights.h5: ")


@pytest.mark.parametrize("value", ["NaN", "Inf"])
def test_broken_weights_are_named(value: str) -> None:
    net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
    kernel, bias = net.get_weights()
    kernel[0, 1, 2, 3] = float(value)
    net.set_weights([kernel, bias])
    refused(net, f"the weights of '.*stem.*' .Conv2D. hold {value} in tensor '.*kernel.*'")


def test_broken_statistics_of_a_batch_norm() -> None:
    norm = keras.layers.BatchNormalization()
    net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), norm])
    norm.set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.full(4, np.nan)])
    refused(net, "hold NaN")


def test_masks_of_minus_infinity_are_sound() -> None:
    """Attention adds them before a softmax."""
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    function = tf.function(
        lambda x: {"y": tf.nn.softmax(x + mask)}, input_signature=[tf.TensorSpec((None, 4, 4), name="x")]
    )
    found = run(ef.export(function), x=np.zeros((1, 4, 4), np.float32))["y"]
    np.testing.assert_allclose(found[0], np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None], atol=1e-6)


def test_more_weights_than_a_graph_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is 2 GB; here it is lowered."""
    monkeypatch.setattr(freeze, "_LARGEST", 200_000)

    def build(size: int) -> None:
        w = tf.compat.v1.get_variable("w", initializer=seeded(size, 5))
        tf.matmul(tf.compat.v1.placeholder(tf.float32, (None, size), name="x"), w, name="y")

    ends: dict[str, Any] = {"inputs": {"x": "x:0"}, "outputs": {"y": "y:0"}}
    refused(save_v1(graph_of(lambda: build(12_000)), tmp_path / "large", **ends), "holds 0.0 GB of weights, and")
    assert ef.export(save_v1(graph_of(lambda: build(5_000)), tmp_path / "small", **ends)).default.inputs["x"]
