"""How the reference runs a graph, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.errors import DataError, ModelError
from eightfold.graph.edit import const_node
from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.reference import KERNELS, computes, evaluate

TWO = const_node("two", np.float32(2))
X = Node("x", "Placeholder")
GRAPH = Graph([TWO, X, Node("y", "Mul", (X.ref, TWO.ref)), Node("z", "Square", (Ref("y"),))])


def test_fetches_come_in_the_order_asked_for() -> None:
    z, y = evaluate(GRAPH, [Ref("z"), Ref("y")], {X.ref: np.float32(3)})
    assert (z, y) == (36.0, 6.0)


def test_a_feed_replaces_what_the_graph_computes() -> None:
    assert evaluate(GRAPH, [Ref("z")], {Ref("y"): np.float32(5)}) == [25.0]


def test_only_what_is_needed_runs() -> None:
    graph = Graph([*GRAPH, Node("unknown", "NoSuchOp", (X.ref,))])
    assert evaluate(graph, [Ref("two")]) == [2.0]


def test_a_placeholder_needs_a_value() -> None:
    with pytest.raises(DataError, match="placeholder 'x' needs a value"):
        evaluate(GRAPH, [Ref("z")])


def test_an_unknown_op_is_named() -> None:
    graph = Graph([X, Node("odd", "NoSuchOp", (X.ref,))])
    with pytest.raises(ModelError, match="node 'odd' is a NoSuchOp"):
        evaluate(graph, [Ref("odd")], {X.ref: np.float32(1)})


def test_an_output_that_is_not_computed_is_named() -> None:
    with pytest.raises(ModelError, match="output 1 of node 'y'"):
        evaluate(GRAPH, [Ref("y", 1)], {X.ref: np.float32(1)})


def test_a_dtype_that_numpy_does_not_have_is_named() -> None:
    graph = Graph([X, Node("odd", "Cast", (X.ref,), {"DstT": "resource"})])
    with pytest.raises(ModelError, match="resource"):
        evaluate(graph, [Ref("odd")], {X.ref: np.float32(1)})


def test_an_op_has_one_reference() -> None:
    assert "Relu" in KERNELS
    with pytest.raises(ValueError, match="'Relu' has a reference already"):
        computes("Relu")(lambda node, x: x)
