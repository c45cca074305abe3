"""A graph run in stages gives what it gives at once, and computes nothing twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eightfold.calibration.stages import by_depth, stages
from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer


def residual() -> tuple[Graph, dict[str, Ref]]:
    """x ─ a ─ b ─ c, and x + c behind it; d reads a constant only."""
    w = Writer()
    x = w.input("x", (2, 3))
    a = w.node("Relu", x, name="a")
    b = w.node("Neg", a, name="b")
    c = w.node("AddV2", b, w.node("Neg", w.const(np.ones(3)), name="d"), name="c")
    y = w.node("AddV2", c, a, name="y")
    return w.model(y=y).graph, {"x": x, "a": a, "b": b, "c": c, "y": y}


def test_a_tensor_is_kept_until_it_is_last_read() -> None:
    graph, refs = residual()
    first, second, third = stages(graph, [refs["x"]], [[refs["a"]], [refs["b"]], [refs["y"]]])
    assert (first.feeds, first.fetches, first.nodes) == ((refs["x"],), (refs["a"],), {"a"})
    assert (second.feeds, second.fetches, second.nodes) == ((refs["a"],), (refs["b"],), {"b"})
    assert set(third.feeds) == {refs["a"], refs["b"]}
    assert third.nodes == {"c", "y"}  # d needs no input: it belongs to no stage
    assert first.keeps == {refs["a"]}
    assert second.keeps == {refs["a"], refs["b"]}
    assert third.keeps == frozenset()


def test_a_target_that_is_there_already_is_only_kept() -> None:
    graph, refs = residual()
    _, second = stages(graph, [refs["x"]], [[refs["a"]], [refs["a"]]])
    assert (second.nodes, second.feeds, second.fetches) == (frozenset(), (), ())


def test_an_input_can_be_a_target() -> None:
    graph, refs = residual()
    (only,) = stages(graph, [refs["x"]], [[refs["x"]]])
    assert (only.nodes, only.fetches) == (frozenset(), ())


def test_nodes_of_equal_depth_go_together() -> None:
    graph, _ = residual()
    assert by_depth(graph, {"a", "b", "c", "y"}) == [["a"], ["b"], ["c"], ["y"]]
    assert [sorted(group) for group in by_depth(graph, {"b", "d", "y"})] == [["b", "d"], ["y"]]
    assert by_depth(graph, ()) == []


def test_what_cannot_be_held_runs_again_where_it_is_needed() -> None:
    """A list of tensors, read before and after the point where the run stops."""
    w = Writer()
    x = w.input("x", (2, 3))
    listed = w.node("TensorListFromTensor", w.node("Relu", x, name="a"), name="listed")
    b = w.node("TensorListStack", listed, name="b")
    y = w.node("TensorListConcatV2", listed, b, name="y")
    first, second = stages(w.model(y=y).graph, [x], [[b], [y]], loose={"listed"})
    assert (first.nodes, first.feeds, set(first.fetches)) == ({"a", "b"}, (x,), {Ref("a"), b})
    assert (second.nodes, set(second.feeds), second.fetches) == ({"y"}, {Ref("a"), b}, (y,))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[Ref]]:
    """Random graphs of sums, each node of two that come before it."""
    w = Writer()
    refs = [w.input("x", (2, 3)), w.const(np.ones((2, 3)))]
    for index in range(draw(st.integers(2, 12))):
        left, right = (refs[draw(st.integers(0, len(refs) - 1))] for _ in range(2))
        refs.append(w.node("AddV2", left, right, name=f"n{index}"))
    return w.model(y=refs[-1]).graph, refs


@given(graphs(), st.data())
def test_stages_compute_what_a_whole_run_computes(case: tuple[Graph, list[Ref]], data: st.DataObject) -> None:
    graph, refs = case
    targets = [data.draw(st.lists(st.sampled_from(refs[2:]), min_size=1, max_size=3)) for _ in range(3)]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    held, computed = {refs[0]: x}, list[str]()
    for stage, wanted in zip(stages(graph, [refs[0]], targets), targets, strict=True):
        values = evaluate(_only(graph, stage.nodes), stage.fetches, {ref: held[ref] for ref in stage.feeds})
        held.update(zip(stage.fetches, values, strict=True))
        expected = evaluate(graph, wanted, {refs[0]: x})
        for ref, value in zip(wanted, expected, strict=True):
            np.testing.assert_array_equal(held[ref], value)
        held = {ref: value for ref, value in held.items() if ref in stage.keeps}
        computed += stage.nodes
    assert held == {}
    assert len(computed) == len(set(computed))


def _only(graph: Graph, names: frozenset[str]) -> Graph:
    """The graph with nodes of other stages made useless."""
    kept = [node for node in graph if node.name in names or node.op == "Const" or not _varies(graph, node)]
    others = [Node(node.name, "Placeholder") for node in graph if node not in kept]
    return graph.with_nodes([*kept, *others])


def _varies(graph: Graph, node: Node) -> bool:
    return "x" in graph.ancestors([node.name])
