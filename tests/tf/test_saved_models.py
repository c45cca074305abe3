"""SavedModels of TensorFlow 2 and 1: signatures, names, shapes and values."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from small_models import graph_of, ops, run, save_v1, seeded
from tensorflow.core.protobuf import saved_model_pb2

import eightfold as ef
from eightfold.errors import ModelError
from eightfold.graph.ir import Shape

W, D = seeded(3, 3, 3, 4), seeded(4, 5, seed=1)


def spec(*shape: int | None, name: str, dtype: str = "float32") -> Any:
    return tf.TensorSpec(shape, dtype, name)


class Vision(tf.Module):  # type: ignore[misc]
    """Several signatures over shared variables."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.d = tf.Variable(W), tf.Variable(D)

    @tf.function(input_signature=[spec(None, None, None, 3, name="image"), spec(None, 4, name="extra")])  # type: ignore[untyped-decorator]
    def classify(self, image: Any, extra: Any) -> Any:
        features = self.embed(image)
        return {"map": features, "score": tf.reduce_mean(features, [1, 2]) @ self.d + extra[:, :1]}

    @tf.function  # type: ignore[untyped-decorator]
    def embed(self, image: Any) -> Any:
        return self.convolve(image)

    @tf.function  # type: ignore[untyped-decorator]
    def convolve(self, image: Any) -> Any:
        return tf.nn.relu(tf.nn.conv2d(tf.stop_gradient(tf.identity(image)), self.w, 1, "SAME"))

    @tf.function(input_signature=[{"p": spec(None, 4, name="p"), "q": spec(None, 4, name="q")}])  # type: ignore[untyped-decorator]
    def compare(self, pair: Any) -> Any:
        return {"difference": pair["p"] @ self.d - 2 * (pair["q"] @ self.d)}

    @tf.function(input_signature=[spec(None, 4, name="second"), spec(None, 4, name="first")])  # type: ignore[untyped-decorator]
    def swapped(self, second: Any, first: Any) -> Any:
        return {"z": tf.nn.relu(second @ self.d) - first @ self.d}


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vision")
    module = Vision()
    signatures = {
        "serving_default": module.classify,
        "compare": module.compare.get_concrete_function(),
        "swapped": module.swapped,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def test_all_signatures_keep_names_types_and_free_dimensions(vision: Path) -> None:
    model = ef.export(vision)
    texts = {
        name: {key: str(spec) for key, spec in {**s.inputs, **s.outputs}.items()}
        for name, s in model.signatures.items()
    }
    assert texts == {
        "serving_default": {
            "image": "float32[?, ?, ?, 3]",
            "extra": "float32[?, 4]",
            "map": "float32[?, ?, ?, 4]",
            "score": "float32[?, 5]",
        },
        "compare": {"p": "float32[?, 4]", "q": "float32[?, 4]", "difference": "float32[?, 5]"},
        "swapped": {"first": "float32[?, 4]", "second": "float32[?, 4]", "z": "float32[?, 5]"},
    }
    assert list(model.signatures) == sorted(model.signatures)
    assert model.default.name == "serving_default"


def test_calls_are_inlined_and_bookkeeping_goes(vision: Path) -> None:
    model = ef.export(vision)
    assert not model.graph.functions
    assert not {"PartitionedCall", "StatefulPartitionedCall", "Identity", "StopGradient", "NoOp"} & set(ops(model))
    assert ops(model).count("Conv2D") == 1


def test_the_file_in_the_folder_stands_for_the_folder(vision: Path) -> None:
    assert ef.export(vision / "saved_model.pb").origin == ef.export(f"{vision}/").origin == str(vision)


def test_a_saved_model_as_text(vision: Path, tmp_path: Path) -> None:
    shutil.copytree(vision, tmp_path / "text")
    binary, text = tmp_path / "text" / "saved_model.pb", tmp_path / "text" / "saved_model.pbtxt"
    proto = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    text.write_text(text_format.MessageToString(proto))
    binary.unlink()
    p, q = seeded(3, 4, seed=2), seeded(3, 4, seed=3)
    for source in (text.parent, text):
        found = run(ef.export(source), "compare", q=q, p=p)["difference"]
        np.testing.assert_allclose(found, p @ D - 2 * (q @ D), atol=1e-5)
    text.write_text("meta_graphs { garbage")
    with pytest.raises(ModelError, match=r"saved_model\.pbtxt is damaged: it is not a SavedModel"):
        ef.export(text)


def test_inputs_are_bound_by_name_not_by_position(vision: Path) -> None:
    model = ef.export(vision)
    p, q = seeded(3, 4, seed=2), seeded(3, 4, seed=3)
    expected = p @ D - 2 * (q @ D)
    np.testing.assert_allclose(run(model, "compare", q=q, p=p)["difference"], expected, atol=1e-5)
    expected = np.maximum(p @ D, 0) - q @ D
    np.testing.assert_allclose(run(model, "swapped", first=q, second=p)["z"], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (4, 12, 3, 3)])
def test_dynamic_batch_and_sides_stay_dynamic(vision: Path, shape: tuple[int, ...]) -> None:
    image, extra = seeded(*shape), seeded(shape[0], 4)
    found, module = run(ef.export(vision), image=image, extra=extra), Vision()
    expected = module.classify(image, extra)
    for name in ("map", "score"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_a_signature_without_inputs_and_one_of_unknown_rank(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(lambda: {"pi": tf.constant(3.25)}, input_signature=[])
    module.g = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path), signatures={"f": module.f, "g": module.g})
    model = ef.export(tmp_path)
    assert run(model, "f") == {"pi": 3.25}
    assert model.signatures["g"].inputs["x"].shape is Shape.UNKNOWN
    np.testing.assert_array_equal(run(model, "g", x=np.ones((2, 1, 3), np.float32))["y"], np.full((2, 1, 3), 2))


def test_strings_bytes_and_other_types_pass(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(
        lambda text, flag, count: {
            "upper": tf.strings.upper(text),
            "chosen": tf.where(flag, count, -count),
            "half": tf.cast(count, tf.bfloat16) / 2,
        },
        input_signature=[
            spec(None, name="text", dtype="string"),
            spec(None, name="flag", dtype="bool"),
            spec(None, name="count", dtype="int64"),
        ],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    inputs = {
        "text": np.array([b"ab", b"\xff"], object),
        "flag": np.array([True, False]),
        "count": np.array([3, 4]),
    }
    found = run(ef.export(tmp_path), **inputs)
    assert found["upper"].tolist() == [b"AB", b"\xff"]
    assert found["chosen"].tolist() == [3, -4]
    assert found["half"].astype(np.float32).tolist() == [1.5, 2.0]


def test_keras_layers_inside_a_module_are_read_with_their_values(tmp_path: Path) -> None:
    """Keras 3 variables are in such a SavedModel twice; TensorFlow 1's loader restores the copies that nobody reads."""
    import keras

    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    module = tf.Module()
    module.net = net
    module.f = tf.function(lambda x: {"y": net(x * 2)}, input_signature=[spec(None, 6, name="x")])
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    x = seeded(3, 6)
    np.testing.assert_allclose(run(ef.export(tmp_path), x=x)["y"], net(x * 2), atol=1e-5)


@pytest.mark.parametrize("resource", [False, True], ids=["ref variables", "resource variables"])
def test_saved_models_of_tensorflow_1(tmp_path: Path, *, resource: bool) -> None:
    def build() -> None:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), name="x")
        with tf.compat.v1.variable_scope("dense", use_resource=resource):
            w = tf.compat.v1.get_variable("w", initializer=D)
        keep = tf.compat.v1.placeholder_with_default(1.0, (), name="keep")
        tf.nn.relu(tf.matmul(x, w) * keep, name="y")

    folder = save_v1(graph_of(build), tmp_path, {"images": "x:0"}, {"scores": "y:0"})
    model = ef.export(folder)
    assert {k: str(s) for k, s in {**model.default.inputs, **model.default.outputs}.items()} == {
        "images": "float32[?, 4]",
        "scores": "float32[?, 5]",
    }
    x = seeded(3, 4)
    np.testing.assert_allclose(run(model, images=x)["scores"], np.maximum(x @ D, 0), atol=1e-6)
    assert "PlaceholderWithDefault" not in ops(model)


def test_an_input_in_the_middle_of_a_graph_cuts_it(tmp_path: Path) -> None:
    """Serving signatures of training graphs start behind the input pipeline."""

    def build() -> None:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8), name="x")
        left, right = tf.split(x, 2, axis=1, name="split")
        w = tf.compat.v1.get_variable("w", initializer=D)
        tf.add(tf.matmul(left, w), tf.reduce_sum(right, 1, keepdims=True), name="y")

    folder = save_v1(graph_of(build), tmp_path, {"left": "split:0", "right": "split:1"}, {"y": "y:0"})
    model = ef.export(folder)
    left, right = seeded(2, 4), seeded(2, 4, seed=9)
    expected = left @ D + right.sum(1, keepdims=True)
    np.testing.assert_allclose(run(model, left=left, right=right)["y"], expected, atol=1e-5)
    assert ops(model).count("Placeholder") == 2
    assert "Split" not in ops(model)


def test_one_signature_fed_in_the_middle_of_another(tmp_path: Path) -> None:
    """As estimators export: one takes serialized examples, the other the features parsed from them."""

    def build() -> None:
        text = tf.compat.v1.placeholder(tf.string, (None,), name="text")
        parsed = tf.io.parse_example(text, {"f": tf.io.FixedLenFeature((4,), tf.float32)})
        tf.matmul(tf.identity(parsed["f"], name="features"), tf.compat.v1.get_variable("w", initializer=D), name="y")

    graph = graph_of(build)
    tensor = graph.get_tensor_by_name
    predict = tf.compat.v1.saved_model.predict_signature_def
    with tf.compat.v1.Session(graph=graph) as session, graph.as_default():
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "net"))
        signatures = {
            "serving_default": predict({"text": tensor("text:0")}, {"y": tensor("y:0")}),
            "features": predict({"f": tensor("features:0")}, {"y": tensor("y:0")}),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    model = ef.export(tmp_path / "net")
    x = seeded(2, 4)
    features = [tf.train.Features(feature={"f": tf.train.Feature(float_list={"value": row})}) for row in x.tolist()]
    text = np.array([tf.train.Example(features=one).SerializeToString() for one in features], object)
    np.testing.assert_allclose(run(model, text=text)["y"], x @ D, atol=1e-5)
    np.testing.assert_allclose(run(model, "features", f=x)["y"], x @ D, atol=1e-5)


def test_several_meta_graphs(tmp_path: Path) -> None:
    """The one for serving is taken."""
    graph = graph_of(lambda: tf.add(tf.compat.v1.placeholder(tf.float32, (3,), name="x"), 1.0, name="y"))
    x, y = graph.get_tensor_by_name("x:0"), graph.get_tensor_by_name("y:0")
    predict = tf.compat.v1.saved_model.predict_signature_def
    with tf.compat.v1.Session(graph=graph) as session, graph.as_default():
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "net"))
        builder.add_meta_graph_and_variables(session, ["train"], {"train": predict({"x": x}, {"y": y})})
        builder.add_meta_graph(["serve"], {"serve": predict({"x": x}, {"y": y})})
        builder.save()
    assert list(ef.export(tmp_path / "net").signatures) == ["serve"]


def test_outputs_that_are_inputs_or_constants_or_twice_the_same(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(
        lambda x, unused: {"y": x * 2, "again": x * 2, "x": x, "c": tf.constant([1.0, 2.0]), "shape": tf.shape(x)},
        input_signature=[spec(None, 2, name="x"), spec(None, name="unused")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    model = ef.export(tmp_path)
    x = seeded(3, 2)
    found = run(model, x=x, unused=np.zeros(1, np.float32))
    np.testing.assert_array_equal(found["y"], x * 2)
    np.testing.assert_array_equal(found["again"], x * 2)
    np.testing.assert_array_equal(found["x"], x)
    assert found["c"].tolist() == [1, 2]
    assert found["shape"].tolist() == [3, 2]


def test_tensors_that_are_not_dense(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(
        lambda text: {"words": tf.strings.split(text)}, input_signature=[spec(None, name="text", dtype="string")]
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    with pytest.raises(ModelError, match="sparse or composite tensors is not supported; expected dense tensors"):
        ef.export(tmp_path)


class Placed(tf.Module):  # type: ignore[misc]
    """An embedding looked up inside a called function: TensorFlow notes that it belongs beside its variable."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = tf.Variable(seeded(6, 4))

    @tf.function(input_signature=[spec(None, 2, name="ids", dtype="int32")])  # type: ignore[untyped-decorator]
    def look_up(self, ids: Any) -> Any:
        return {"y": tf.reduce_mean(tf.nn.embedding_lookup(self.vectors, ids), 1)}


def test_what_stood_beside_a_variable_stands_alone(tmp_path: Path) -> None:
    module = Placed()
    tf.saved_model.save(module, str(tmp_path), signatures=module.look_up)
    model = ef.export(tmp_path)
    assert not any("_class" in node.attrs for node in model.graph)
    ids = np.array([[0, 5], [2, 2]], np.int32)
    np.testing.assert_allclose(run(model, ids=ids)["y"], seeded(6, 4)[ids].mean(1), atol=1e-6)
