from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eightfold.errors import DataError, ModelError
from eightfold.tf.prepared import Prepared, aligned, session_config

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def add_one(graph: Any) -> None:
    x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
    tf.add(x, tf.constant(1.0), "y")


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    with tf.Graph().as_default() as graph:
        add_one(graph)
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, kernel_initializer="ones")])
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with a variable and a look-up table, which must be filled before the first call."""

    class Net(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            words = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
            self.table = tf.lookup.StaticHashTable(words, -1.0)
            self.scale = tf.Variable(10.0)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])  # type: ignore[untyped-decorator]
        def look_up(self, word: Any) -> dict[str, Any]:
            return {"value": self.scale * self.table.lookup(word)}

    folder = tmp_path_factory.mktemp("table") / "net"
    net = Net()
    tf.saved_model.save(net, str(folder), signatures={"b": net.look_up, "a": net.look_up})
    return folder


def test_a_saved_model_with_variables_and_tables(table: Path) -> None:
    with Prepared(table, intra=1, inter=1) as model:
        assert model.signature.name == "a"  # there is no serving_default
        (value,) = model(np.array([b"b", b"a", b"c"], object))
    assert value.tolist() == [20.0, 10.0, -10.0]


def test_a_frozen_graph(frozen: Path) -> None:
    with Prepared(frozen) as model:
        assert list(model.signature.inputs) == ["x"]
        (y,) = model(aligned(X))
    np.testing.assert_array_equal(y, X + 1)


def test_an_input_that_is_handed_through(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
        y = tf.add(x, 1.0, "y")
        with tf.compat.v1.Session(graph=graph) as session:
            folder = str(tmp_path / "net")
            tf.compat.v1.saved_model.simple_save(session, folder, {"x": x}, {"same": x, "y": y})
    with Prepared(folder) as model:
        same, y = model(X)
        assert list(model.signature.outputs) == ["same", "y"]
    np.testing.assert_array_equal(same, X)
    np.testing.assert_array_equal(y, X + 1)


def test_inputs_become_what_the_model_takes(frozen: Path) -> None:
    with Prepared(frozen) as model:
        for given in (X.astype(np.float64), X.astype(np.int64), X.tolist(), np.asfortranarray(X)):
            np.testing.assert_array_equal(model(given)[0], X + 1)
        for shape in ((4,), (2, 3), (2, 4, 1)):
            with pytest.raises(DataError, match=r"expected float32\[\?, 4\], received the shape"):
                model(np.zeros(shape, np.float32))


def test_a_keras_file(keras_file: Path) -> None:
    with Prepared(keras_file) as model:
        (y,) = model(X)
    np.testing.assert_array_equal(y, np.repeat(X.sum(1, keepdims=True), 3, 1))


def test_unknown_signatures_models_and_data(table: Path, frozen: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no signature 'c'; it has: a, b"):
        Prepared(table, "c")
    with pytest.raises(ModelError, match="no signature 'c'; it has: serving_default"):
        Prepared(frozen, "c")
    with pytest.raises(ModelError, match="there is no model at"):
        Prepared(tmp_path / "nowhere")
    (tmp_path / "damaged.pb").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="is damaged"):
        Prepared(tmp_path / "damaged.pb")
    with Prepared(frozen) as model, pytest.raises(DataError, match="net.pb cannot run on this data"):
        model(np.zeros((2, 5), np.float32))


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 3)])
def test_an_aligned_copy(shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.uint8, np.float64, np.bool_):
        value = np.random.default_rng(0).integers(0, 2, (shape[0] + 1, *shape[1:])).astype(dtype)[1:]
        copy = aligned(value)
        assert copy.ctypes.data % 64 == 0
        np.testing.assert_array_equal(copy, value)
        assert copy.dtype == value.dtype
    words = np.array([b"a"], object)
    assert aligned(words) is words


@pytest.mark.parametrize(
    ("written", "asked", "expected"),
    [("NCHW", None, "NCHW"), ("NCHW", "NHWC", "NHWC"), ("NHWC", "NHWC", "NHWC"), ("NHWC", "NCHW", "NHWC")],
)
def test_on_cpus_a_graph_is_brought_to_nhwc_only(written: str, asked: str | None, expected: str) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 8), "x")
        w = tf.constant(np.full((3, 3, 8, 8), 0.1, np.float32))
        y = tf.nn.conv2d(x, w, 1, "SAME", data_format=written)
        tf.nn.relu(tf.nn.conv2d(tf.nn.relu(y), w, 1, "SAME", data_format=written), "y")
        metadata = tf.compat.v1.RunMetadata()
        options = tf.compat.v1.RunOptions(output_partition_graphs=True)
        with tf.compat.v1.Session(graph=graph, config=session_config(1, 1, asked)) as session:
            session.run("y:0", {"x:0": np.ones((1, 8, 8, 8), np.float32)}, options=options, run_metadata=metadata)
    nodes = [node for partition in metadata.partition_graphs for node in partition.node]
    assert {node.attr["data_format"].s.decode() for node in nodes if node.op.endswith("Conv2D")} == {expected}


@pytest.mark.parametrize(("inter", "by_caller"), [(None, False), (1, False), (-1, True)])
def test_who_runs_operations(inter: int | None, by_caller: bool) -> None:
    ran_in: list[int] = []

    def noting(value: Any) -> Any:
        ran_in.append(threading.get_ident())
        return value

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (4,), "x")
        tf.identity(tf.numpy_function(noting, [x], tf.float32) * 2, "y")
        with tf.compat.v1.Session(graph=graph, config=session_config(None, inter)) as session:
            session.make_callable(["y:0"], ["x:0"])(np.ones(4, np.float32))
    assert (ran_in == [threading.get_ident()]) == by_caller
