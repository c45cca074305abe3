from __future__ import annotations

import numpy as np
import pytest

from eightfold.graph.ir import Graph, Ref
from eightfold.graph.pattern import Match, Miss, Pattern, any_, const, either, match, matches, op
from eightfold.graph.writer import Writer

CONV = op("Conv2D", any_("x"), const("filter"), name="conv")
BIASED = either(op("BiasAdd", CONV, const("bias")), CONV)
RELU = op("Relu|Relu6", BIASED)
SUM = op("AddV2", BIASED, any_("summand"), commutative=True)


def graph(*, bias: bool = True, used_twice: bool = False, relu: str = "Relu") -> Graph:
    w = Writer()
    x = w.input("x", (1, 4, 4, 2))
    y = w.conv(x, w.normal(1, 1, 2, 2))
    z = w.bias(y, w.normal(2)) if bias else y
    outputs = {"y": w.node(relu, z, name="relu")}
    if used_twice:
        outputs["other"] = w.node("Neg", y)
    return w.model(**outputs).graph


def reason(pattern: Pattern, graph: Graph, root: str, outputs: set[Ref] | None = None) -> str:
    found = match(graph, pattern, graph[root], outputs or set())
    assert isinstance(found, Miss)
    assert not found
    return found.reason


@pytest.mark.parametrize("bias", [True, False])
def test_leaves_and_nodes_are_bound_by_name(bias: bool) -> None:
    g = graph(bias=bias)
    found = match(g, RELU, g["relu"])
    assert isinstance(found, Match)
    assert found.root == Ref("relu")
    assert found.node.op == "Relu"
    assert found.nodes == (("relu", "biased", "conv") if bias else ("relu", "conv"))
    assert found.refs["x"] == Ref("x")
    assert found.named["conv"].op == "Conv2D"
    assert found.value("filter").shape == (1, 1, 2, 2)
    assert ("bias" in found) == bias
    assert (found.get("bias") is not None) == bias


def test_an_op_may_be_one_of_several() -> None:
    assert match(graph(relu="Relu6"), RELU, graph(relu="Relu6")["relu"])


def test_misses_say_why() -> None:
    assert reason(RELU, graph(relu="Elu"), "relu") == "the pattern does not end in Elu"
    assert reason(op("Relu", op("MatMul", any_("a"), any_("b"))), graph(bias=False), "relu") == (
        "conv is Conv2D, not MatMul"
    )
    assert reason(RELU, graph(used_twice=True), "relu") == "conv is also used elsewhere"
    assert reason(RELU, graph(), "relu", {Ref("conv")}) == "conv is also used elsewhere"
    assert reason(op("Relu", const("x")), graph(), "relu") == "x (biased:0) is not a constant"
    assert reason(op("Conv2D", any_("x"), any_("w")), graph(), "conv") == "w (weight:0) is not computed"
    three = op("BiasAdd", any_("x"), any_("y"), any_("z"))
    assert reason(op("Relu", three), graph(), "relu") == "biased has 2 inputs, not 3"


def test_the_reason_is_of_the_deepest_attempt() -> None:
    g = graph(used_twice=True)
    found = match(g, either(op("Relu", op("MatMul", any_("a"))), RELU), g["relu"])
    assert isinstance(found, Miss)
    assert found.reason == "conv is also used elsewhere"
    assert found.depth == 3


def test_the_root_may_be_used_by_many_and_be_an_output() -> None:
    g = graph(used_twice=True)
    assert match(g, CONV, g["conv"], {Ref("conv")})


def residual(swapped: bool) -> Graph:
    w = Writer()
    x = w.input("x", (1, 4, 4, 2))
    shortcut = w.node("Relu", w.conv(x, w.normal(1, 1, 2, 2)))
    y = w.conv(shortcut, w.normal(1, 1, 2, 2))
    return w.model(y=w.node("AddV2", *((shortcut, y) if swapped else (y, shortcut)))).graph


@pytest.mark.parametrize("swapped", [True, False])
def test_a_commutative_op_is_matched_either_way(swapped: bool) -> None:
    g = residual(swapped)
    found = match(g, SUM, g["addv2"])
    assert isinstance(found, Match)
    assert found.named["conv"].name == "conv_1"
    assert found.refs["summand"] == Ref("relu")


def test_of_two_ways_the_input_computed_last_comes_first() -> None:
    w = Writer()
    x = w.input("x", (1, 4, 4, 2))
    late_first = [w.conv(x, w.normal(1, 1, 2, 2)) for _ in range(2)]
    g = w.model(y=w.node("AddV2", *late_first)).graph
    found = match(g, SUM, g["addv2"])
    assert isinstance(found, Match)
    assert found.named["conv"].name == "conv_1"
    every = [m for m in matches(g, SUM, g["addv2"]) if isinstance(m, Match)]
    assert [m.named["conv"].name for m in every] == ["conv_1", "conv"]


def test_matches_gives_the_smaller_options_too() -> None:
    w = Writer()
    x = w.input("x", (1, 4, 4, 2))
    padded = w.node("Pad", x, w.const(np.ones((4, 2), np.int32)))
    g = w.model(y=w.conv(padded, w.normal(1, 1, 2, 2))).graph
    pattern = op("Conv2D", either(op("Pad", any_("x"), const("pad")), any_("x")), const("filter"))
    found = [m.refs["x"] for m in matches(g, pattern, g["conv"]) if isinstance(m, Match)]
    assert found == [Ref("x"), Ref("pad")]


def test_one_name_is_one_tensor() -> None:
    w = Writer()
    a, b = w.input("a", (2,)), w.input("b", (2,))
    g = w.model(square=w.node("Mul", a, a), product=w.node("Mul", a, b, name="product")).graph
    square = op("Mul", any_("x"), any_("x"))
    assert match(g, square, g["mul"])
    assert reason(square, g, "product") == "x is a:0 in one place and b:0 in another"


def test_a_second_output_is_not_the_node() -> None:
    w = Writer()
    x = w.input("x", (2,))
    split = w.node("Split", w.const(0), x, attrs={"num_split": 2})
    g = w.model(y=w.node("Relu", Ref(split.node, 1))).graph
    assert isinstance(match(g, op("Relu", op("Split")), g["relu"]), Miss)
