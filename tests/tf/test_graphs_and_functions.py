"""Frozen graphs, checkpoints and functions: models that come with a graph and no folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from small_models import graph_of, ops, run, save_v1, seeded

import eightfold as ef
from eightfold.errors import ModelError

W, X = seeded(4, 5), seeded(3, 4, seed=1)


def build(*, training: bool = False) -> None:
    """x -> MatMul -> BiasAdd -> y, beside labels and, for training, a loss with its gradients."""
    x = tf.compat.v1.placeholder(tf.float32, (None, 4), name="x")
    w = tf.compat.v1.get_variable("w", initializer=W)
    y = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, w), tf.constant(seeded(5))), name="y")
    if training:
        labels = tf.compat.v1.placeholder(tf.float32, (None, 5), name="labels")
        loss = tf.reduce_mean((y - labels) ** 2)
        tf.compat.v1.summary.scalar("loss", loss)
        tf.compat.v1.train.AdamOptimizer().minimize(loss)


EXPECTED = np.maximum(X @ W + seeded(5), 0)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frozen") / "net.pb"
    graph = graph_of(build)
    with tf.compat.v1.Session(graph=graph) as session:
        session.run(graph.get_operation_by_name("w/Assign"))
        graph_def = tf.compat.v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
    path.write_bytes(graph_def.SerializeToString())
    path.with_suffix(".pbtxt").write_text(text_format.MessageToString(graph_def))
    return path


def test_frozen_graph_without_names(frozen: Path) -> None:
    for path in (frozen, frozen.with_suffix(".pbtxt")):
        model = ef.export(path)
        np.testing.assert_allclose(run(model, x=X)["y"], EXPECTED, atol=1e-6)
        assert str(model.default.inputs["x"]) == "float32[?, 4]"


@pytest.mark.parametrize(("inputs", "outputs"), [(["x"], ["y"]), (["x:0"], ["y:0"]), (None, ["BiasAdd", "y"])])
def test_frozen_graph_with_names(frozen: Path, inputs: list[str] | None, outputs: list[str]) -> None:
    model = ef.export(frozen, inputs=inputs, outputs=outputs)
    found = run(model, x=X)
    assert list(found) == [name.partition(":")[0] for name in outputs]
    np.testing.assert_allclose(found["y"], EXPECTED, atol=1e-6)


def test_frozen_graph_cut_at_a_named_input(frozen: Path) -> None:
    model = ef.export(frozen, inputs=["BiasAdd"], outputs=["y"])
    assert ops(model) == ["Placeholder", "Relu"]
    np.testing.assert_array_equal(run(model, BiasAdd=-seeded(2, 5))["y"], np.maximum(-seeded(2, 5), 0))


def test_a_name_that_is_not_there(frozen: Path) -> None:
    with pytest.raises(ModelError, match="the graph has no tensor named 'logits'"):
        ef.export(frozen, outputs=["logits"])


@pytest.mark.parametrize("given", ["checkpoint", "checkpoint/model.ckpt", "checkpoint/model.ckpt.meta"])
def test_checkpoint_with_its_meta_graph(tmp_path: Path, given: str) -> None:
    save_v1(graph_of(build), tmp_path, {"x": "x:0"}, {"y": "y:0"})
    model = ef.export(tmp_path / given)
    np.testing.assert_allclose(run(model, x=X)["y"], EXPECTED, atol=1e-6)


def test_checkpoint_of_a_training_run(tmp_path: Path) -> None:
    """The optimizer and the labels are in the graph; with the output named, only what it needs is kept."""
    save_v1(graph_of(lambda: build(training=True)), tmp_path, {"x": "x:0"}, {"y": "y:0"})
    model = ef.export(tmp_path / "checkpoint", outputs=["y"])
    assert list(model.default.inputs) == ["x"]
    np.testing.assert_allclose(run(model, x=X)["y"], EXPECTED, atol=1e-6)


def test_checkpoint_without_a_graph(tmp_path: Path) -> None:
    tf.train.Checkpoint(v=tf.Variable(W)).save(str(tmp_path / "model"))
    for given in (tmp_path, tmp_path / "model-1", tmp_path / "model-1.index"):
        with pytest.raises(ModelError, match="checkpoint without a .meta file: it holds values and no graph"):
            ef.export(given)


def test_function_with_a_signature() -> None:
    v = tf.Variable(W)
    function = tf.function(lambda x: tf.nn.relu(x @ v), input_signature=[tf.TensorSpec((None, 4), name="x")])
    model = ef.export(function)
    np.testing.assert_allclose(run(model, x=X)["output_0"], np.maximum(X @ W, 0), atol=1e-6)
    assert [str(s) for s in model.default.outputs.values()] == ["float32[?, 5]"]


def test_function_without_a_signature() -> None:
    function = tf.function(lambda x: x * 2)
    with pytest.raises(ModelError, match="needs an input_signature"):
        ef.export(function)


def test_concrete_function_with_nested_results_and_bound_arguments() -> None:
    @tf.function  # type: ignore[untyped-decorator]
    def function(x: Any, scale: float, *, more: Any) -> Any:
        return x * scale, {"deep": [more + 1, None]}

    concrete = function.get_concrete_function(
        tf.TensorSpec((None, 4), name="x"), 2.0, more=tf.TensorSpec((None,), tf.int32)
    )
    found = run(ef.export(concrete), x=X, more=np.array([4], np.int32))
    np.testing.assert_array_equal(found["output_0"], X * 2)
    assert found["output_1"].tolist() == [5]


def test_function_whose_table_belongs_to_a_module() -> None:
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1]))
    table = tf.lookup.StaticHashTable(keys, -1)
    function = tf.function(table.lookup, input_signature=[tf.TensorSpec((None,), tf.string)])
    with pytest.raises(ModelError, match="save the module that owns it"):
        ef.export(function)


def test_names_that_meet_when_calls_are_inlined() -> None:
    """Each call has nodes of the same names, and some are named like the prefix that would tell them apart."""

    @tf.function  # type: ignore[untyped-decorator]
    def inner(x: Any) -> Any:
        with tf.name_scope("PartitionedCall"):
            return tf.identity(x * 2, name="Mul") + 1

    function = tf.function(
        lambda x: {"y": inner(inner(inner(x))) - inner(x)}, input_signature=[tf.TensorSpec((None,), name="x")]
    )
    model = ef.export(function)
    x = np.array([0, 1, -3], np.float32)
    np.testing.assert_array_equal(run(model, x=x)["y"], (8 * x + 7) - (2 * x + 1))


def test_a_gather_from_a_variable_in_a_nested_call() -> None:
    table = tf.Variable(seeded(6, 4))

    @tf.function  # type: ignore[untyped-decorator]
    def look_up(i: Any) -> Any:
        return tf.gather(table, i), tf.gather_nd(table, i[:, None])

    function = tf.function(look_up, input_signature=[tf.TensorSpec((None,), tf.int32, "i")])
    found = run(ef.export(function), i=np.array([5, 0], np.int32))
    np.testing.assert_array_equal(found["output_0"], seeded(6, 4)[[5, 0]])
    np.testing.assert_array_equal(found["output_1"], seeded(6, 4)[[5, 0]])
