"""Control flow, nested functions, several signatures, strings and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pipeline import CONV, conv, function, images, normal, through

from eightfold.quantization.calibrate import feeds_of
from eightfold.tf.session import Runner

pytestmark = pytest.mark.int8

X = images(4, 8, 8, 4)
FIRST, WIDE, POINT = (
    normal(3, 3, 4, 8, scale=0.2),
    normal(3, 3, 8, 8, scale=0.15),
    normal(1, 1, 8, 8, scale=0.3),
)


def test_29_control_dependencies_of_checks_vanish() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        finite = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(x)), [x])
        with tf.control_dependencies([finite, tf.print("", output_stream="file:///dev/null")]):
            y = conv(x, FIRST)
        with tf.control_dependencies([y]):
            return conv(tf.nn.relu(tf.identity(y)), WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv"]
    assert not any(node.control for node in case.fast.model.graph)
    assert set(case.ops) == {CONV, "QuantizeV2", "Dequantize", "Const", "Placeholder"}
    assert case.sqnr > 33


def test_30_while_loop() -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        start = tf.nn.relu(conv(x, FIRST))
        _, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.nn.relu(conv(y, WIDE))), [0, start])
        return conv(y, WIDE)

    case = through(function(None, 8, 8, 4)(model), X)
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.conversions == (2, 2)
    (loop,) = (op for op in case.refused if op.endswith("While"))
    assert case.refused[loop] == f"stock TensorFlow has no 8-bit kernel for {loop}"
    assert case.sqnr > 33


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_30_if(sign: float) -> None:
    def model(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, FIRST))
        return conv(tf.cond(tf.reduce_sum(x) > 0.0, lambda: conv(y, WIDE), lambda: y * 2.0), POINT)

    case = through(function(None, 8, 8, 4)(model), np.abs(X) * np.float32(sign))
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.sqnr > 30


@contextmanager
def old_control_flow() -> Iterator[None]:
    """Loops and branches of TensorFlow 1: Enter, Exit, Switch, Merge."""
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        tf.compat.v1.enable_control_flow_v2()


def frozen(folder: Path, build: Callable[[tf.Tensor], tf.Tensor]) -> str:
    """A frozen graph from `x` to `y`."""
    graph, path = tf.Graph(), folder / "model.pb"
    with graph.as_default(), old_control_flow():
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 4), "x")
        tf.identity(build(x), "y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def test_30_loop_of_tensorflow_1(tmp_path: Path) -> None:
    first, wide = FIRST.numpy(), WIDE.numpy()

    def build(x: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, tf.nn.relu(conv(y, wide))

        start = tf.nn.relu(conv(x, first))
        return conv(tf.compat.v1.while_loop(lambda i, y: i < 3, body, [0, start])[1], wide)

    case = through(frozen(tmp_path, build), X, inputs=["x:0"], outputs=["y:0"])
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.ops["Conv2D"] == 1
    assert "it is in a loop or branch, where no range can be observed" in case.refused.values()
    assert case.sqnr > 33


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_30_branch_of_tensorflow_1(sign: float, tmp_path: Path) -> None:
    first, wide, point = FIRST.numpy(), WIDE.numpy(), POINT.numpy()

    def build(x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu(conv(x, first))
        positive = tf.reduce_sum(x) > 0.0
        return conv(tf.compat.v1.cond(positive, lambda: conv(y, wide), lambda: conv(y, 2 * wide)), point)

    case = through(frozen(tmp_path, build), np.abs(X) * np.float32(sign), inputs=["x:0"], outputs=["y:0"])
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.ops["Conv2D"] == 2
    assert case.sqnr > 30


def test_31_nested_functions() -> None:
    @tf.function
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(conv(x, FIRST))

    @tf.function
    def middle(x: tf.Tensor) -> tf.Tensor:
        return inner(x) * 0.5

    case = through(function(None, 8, 8, 4)(lambda x: conv(middle(x), WIDE)), X)
    assert case.rewrites == ["conv_relu", "conv"]
    assert case.plan.refusals == ()
    assert case.exported.graph.functions == {}
    assert case.sqnr > 33


class Scorer(tf.Module):
    """Two signatures; one takes strings, looks them up, and gives strings back."""

    def __init__(self) -> None:
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
        self.table = tf.lookup.StaticHashTable(pairs, 0.5)
        self.weight = tf.Variable(FIRST)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 4], tf.float32, "x")])
    def plain(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.relu(conv(x, self.weight))}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8, 8, 4], tf.float32, "x"),
            tf.TensorSpec([None], tf.string, "key"),
        ]
    )
    def scaled(self, x: tf.Tensor, key: tf.Tensor) -> dict[str, tf.Tensor]:
        factor = tf.reshape(self.table.lookup(key), [-1, 1, 1, 1])
        name = tf.strings.join([key, tf.strings.as_string(tf.constant(3)), "!"])
        return {"y": tf.nn.relu(conv(x, self.weight)) * factor, "name": name}


def test_32_signatures_strings_and_tables(tmp_path: Path) -> None:
    scorer = Scorer()
    tf.saved_model.save(scorer, str(tmp_path), signatures={"serving_default": scorer.scaled, "plain": scorer.plain})
    data = {"x": X, "key": np.array([b"a", b"b", b"c", b"a"], object)}
    case = through(str(tmp_path), data)
    assert set(case.fast.model.signatures) == {"serving_default", "plain"}
    assert case.actual["name"].tolist() == [b"a3!", b"b3!", b"c3!", b"a3!"]
    assert case.rewrites == ["conv_relu"]
    assert case.ops[CONV] == 1  # both signatures share it
    assert case.refused["LookupTableFindV2"] == "stock TensorFlow has no 8-bit kernel for LookupTableFindV2"
    assert case.sqnr > 38
    with Runner.of(case.fast.model) as run:
        signature = case.fast.model.signatures["plain"]
        feeds = {spec.ref: X for spec in signature.inputs.values()}
        (plain,) = run([spec.ref for spec in signature.outputs.values()], feeds)
    np.testing.assert_allclose(plain[1] * 2.0, case.actual["y"][1], rtol=1e-6)
    assert set(feeds_of(case.fast.model, data)) == {spec.ref for spec in case.fast.model.default.inputs.values()}
