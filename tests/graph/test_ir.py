from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.ir import DType, Func, Graph, Node, Ref, Shape, as_ref, nodes_equal


def node(name: str, *inputs: str, control: tuple[str, ...] = (), op: str = "Op") -> Node:
    return Node(name, op, tuple(as_ref(text) for text in inputs), {}, control)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("a", Ref("a")),
        ("a:0", Ref("a", 0)),
        ("a/b:3", Ref("a/b", 3)),
        ("a:b", Ref("a:b")),
        (Ref("a", 2), Ref("a", 2)),
    ],
)
def test_text_as_a_ref(text: str | Ref, ref: Ref) -> None:
    assert as_ref(text) == ref


@given(st.text("ab/_", min_size=1), st.integers(0, 99))
def test_a_ref_is_read_back_from_its_text(name: str, port: int) -> None:
    assert as_ref(str(Ref(name, port))) == Ref(name, port)


def test_nodes_come_in_topological_order_whatever_the_order_given() -> None:
    graph = Graph([node("c", "b", "a:1"), node("b", "a"), node("d", control=("c",)), node("a")])
    assert [n.name for n in graph] == ["a", "b", "c", "d"]
    assert graph.position == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert len(graph) == 4
    assert "a" in graph
    assert graph["a"] is graph[Ref("a", 5)]
    assert graph.get("nothing") is None


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_every_node_comes_after_what_it_reads(size: int, random: object) -> None:
    rng = np.random.default_rng(random.randrange(10**6))  # type: ignore[attr-defined]
    nodes = [
        node(
            f"n{i}",
            *(f"n{j}" for j in rng.choice(i, min(i, 2), replace=False)),
            control=(f"n{i - 1}",) if i else (),
        )
        for i in range(size)
    ]
    rng.shuffle(nodes)  # type: ignore[arg-type]
    graph = Graph(nodes)
    for user in graph:
        assert all(graph.position[ref.node] < graph.position[user.name] for ref in user.inputs)
        assert all(graph.position[name] < graph.position[user.name] for name in user.control)


def test_users_are_listed_once_for_each_input_they_read() -> None:
    graph = Graph([node("a"), node("b", "a", "a:1", "a"), node("c", "a", control=("b",))])
    assert [(n.name, position) for n, position in graph.users[Ref("a")]] == [("b", 0), ("b", 2), ("c", 0)]
    assert [n.name for n in graph.users_of(Ref("a", 1))] == ["b"]
    assert graph.users_of(Ref("c")) == ()
    assert [n.name for n in graph.control_users["b"]] == ["c"]


def test_loops_of_tensorflow_1_are_no_cycles() -> None:
    graph = Graph(
        [
            node("enter", op="Enter"),
            node("merge", "enter", "next", op="Merge"),
            node("body", "merge"),
            node("next", "body", op="NextIteration"),
        ]
    )
    assert [n.name for n in graph] == ["enter", "merge", "body", "next"]
    assert graph.ancestors(["body"]) == {"enter", "merge", "body", "next"}


def test_bad_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="two nodes are named 'a'"):
        Graph([node("a"), node("a")])
    with pytest.raises(ValueError, match="node 'b' reads 'a', which is not in the graph"):
        Graph([node("b", "a")])
    with pytest.raises(ValueError, match="'b' reads 'a'"):
        Graph([node("b", control=("a",))])
    with pytest.raises(ValueError, match="the graph has a cycle through"):
        Graph([node("a", "b"), node("b", "a")])


def test_pruning_keeps_what_the_roots_need_by_data_or_control() -> None:
    graph = Graph([node("a"), node("b", "a"), node("c", control=("b",)), node("d", "a")], {"f": b"x"}, (7, 3))
    pruned = graph.pruned(["c"])
    assert [n.name for n in pruned] == ["a", "b", "c"]
    assert pruned.functions == {"f": b"x"}
    assert pruned.versions == (7, 3)


def test_attributes_are_replaced_and_removed() -> None:
    old = Node("a", "Op", (), {"x": 1, "y": 2})
    new = old.with_attrs(x=None, z=3)
    assert new.attrs == {"y": 2, "z": 3}
    assert old.attrs == {"x": 1, "y": 2}
    assert old.but(name="b").name == "b"


def test_only_a_const_has_a_value() -> None:
    const = Node("c", "Const", (), {"value": np.arange(3), "dtype": DType("int64")})
    graph = Graph([const, node("a", "c")])
    np.testing.assert_array_equal(graph.constant(Ref("c")), [0, 1, 2])
    assert graph.constant(Ref("a")) is None
    with pytest.raises(TypeError, match="node 'a' is a Op, not a Const"):
        _ = graph["a"].value


def test_the_unknown_shape_is_like_no_other() -> None:
    assert not Shape.UNKNOWN.known_rank
    assert Shape((None, 2)).known_rank
    assert Shape((None, 2)) == (None, 2)


def test_equal_nodes() -> None:
    one = Node("a", "Const", (), {"value": np.zeros(2), "f": Func("g", {"k": 1})})
    assert nodes_equal(one, one.with_attrs(value=np.zeros(2)))
    assert not nodes_equal(one, one.with_attrs(value=np.zeros(2, np.float32)))
    assert not nodes_equal(one, one.with_attrs(value=np.ones(2)))
    assert not nodes_equal(one, one.with_attrs(extra=1))
    assert not nodes_equal(one, one.with_attrs(value=2))
    assert not nodes_equal(one, one.but(name="b"))
