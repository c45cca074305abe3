from __future__ import annotations

from graphlib import TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.ir import DType
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.quantization import chart
from eightfold.quantization.chart import Chart, ChartNode, draw
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.tf.session import infer


def net() -> Model:
    """x ─ a ─ Softplus ─ b ─ y, and a reshape to the shape of x that computes no data."""
    w = Writer()
    x = w.input("x", (2, 8, 8, 8))
    a = w.node("Relu", w.conv(x, w.normal(1, 1, 8, 8)), name="a")
    b = w.node("Relu", w.conv(w.node("Softplus", a, name="p"), w.normal(1, 1, 8, 8)), name="b")
    shape = w.node("Shape", x, attrs={"out_type": DType("int32")}, name="shape")
    return w.model(y=w.node("Reshape", b, shape, attrs={"Tshape": DType("int32")}, name="same"))


def planned(model: Model) -> Plan:
    return make_plan(model, infer(model.graph), Recipe())


def test_blocks_and_float_nodes_are_drawn_with_what_they_read() -> None:
    drawn = draw(net(), planned(net()))
    assert [(n.name, n.kind, n.op, n.sources) for n in drawn.nodes] == [
        ("x", "input", "Placeholder", ()),
        ("a", "int8", "conv_relu", (0,)),
        ("p", "fp32", "Softplus", (1,)),
        ("b", "int8", "conv_relu", (2,)),
        ("same", drawn.nodes[4].kind, drawn.nodes[4].op, (3,)),
        ("y", "output", "output", (4,)),
    ]


def test_what_is_computed_in_bfloat16_is_drawn_so() -> None:
    drawn = draw(net(), planned(net()).in_bfloat16("b"))
    assert {n.name: n.kind for n in drawn.nodes if n.op == "conv_relu"} == {"a": "int8", "b": "bf16"}


def test_it_is_kept_whole() -> None:
    drawn = draw(net(), planned(net()))
    assert Chart.unpack(drawn.pack()) == drawn


@st.composite
def charts(draws: st.DrawFn) -> Chart:
    kinds = draws(st.lists(st.sampled_from(["fp32", "int8"]), min_size=1, max_size=12))
    nodes = []
    for place, kind in enumerate(kinds):
        sources = draws(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        nodes.append(ChartNode(f"n{place}", kind, "Op", tuple(sorted(sources))))
    return Chart(tuple(nodes))


@given(charts())
def test_float_nodes_drawn_as_one_make_no_cycle_and_lose_nothing(whole: Chart) -> None:
    small = chart._condensed(whole)
    assert sorted(name for n in small.nodes for name in (n.name, *n.also)) == sorted(n.name for n in whole.nodes)
    list(TopologicalSorter({i: n.sources for i, n in enumerate(small.nodes)}).static_order())  # raises for a cycle
    box = {name: i for i, n in enumerate(small.nodes) for name in (n.name, *n.also)}
    for node in whole.nodes:
        for source in node.sources:
            one, other = box[whole.nodes[source].name], box[node.name]
            assert one == other or one in small.nodes[other].sources


def test_a_chain_of_float_nodes_is_one_box() -> None:
    kinds = ["int8", "fp32", "fp32", "fp32", "int8"]
    chain = Chart(tuple(ChartNode(f"n{i}", kind, "Op", (i - 1,) if i else ()) for i, kind in enumerate(kinds)))  # type: ignore[arg-type]
    assert [(n.name, n.also) for n in chart._condensed(chain).nodes] == [("n0", ()), ("n3", ("n1", "n2")), ("n4", ())]
