"""How rows are shared out, which rows a window needs, and how large images are."""

from __future__ import annotations

import numpy as np
import pytest
from banded import Layer, net
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.edit import const_node
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.reference import evaluate
from eightfold.passes.bands.geometry import Need, needed, shares, tile
from eightfold.passes.bands.sizes import image_sizes
from lowering import lowered


@given(st.integers(1, 60), st.integers(1, 9))
def test_shares_are_equal_and_tile(length: int, count: int) -> None:
    spans = shares(length, count)
    lengths = [last - first for first, last in spans]
    assert len(spans) == count
    assert tile(spans, length)
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("spans", [((0, 3), (4, 6)), ((0, 4), (3, 6)), ((1, 3), (3, 6)), ((0, 3), (3, 5))])
def test_gaps_and_overlaps_do_not_tile(spans: tuple[tuple[int, int], ...]) -> None:
    assert not tile(spans, 6)


def pool(size: int, stride: int, padding: str) -> tuple[Graph, Node]:
    attrs = {"ksize": (1, size, size, 1), "strides": (1, stride, stride, 1), "padding": padding.encode()}
    nodes = [Node("x", "Placeholder"), Node("pool", "QuantizedMaxPool", (Ref("x"),), attrs)]
    return Graph(nodes), nodes[1]


@pytest.mark.parametrize(
    ("geometry", "span", "expected"),
    [
        ((3, 1, "SAME"), (0, 5), Need(0, 6, 1, 0, 0)),
        ((3, 1, "SAME"), (5, 10), Need(4, 10, 0, 1, 0)),
        ((3, 1, "SAME"), (4, 6), Need(3, 7, 0, 0, 0)),
        ((1, 1, "VALID"), (4, 6), Need(4, 6, 0, 0, 0)),
        ((2, 2, "VALID"), (0, 3), Need(0, 6, 0, 0, 1)),
        ((1, 2, "VALID"), (0, 3), Need(0, 5, 0, 0, 1)),
        ((3, 2, "SAME"), (3, 5), Need(6, 10, 0, 1, 0)),
        ((3, 3, "VALID"), (1, 3), Need(3, 9, 0, 0, 2)),
    ],
)
def test_rows_under_a_window(geometry: tuple[int, int, str], span: tuple[int, int], expected: Need) -> None:
    graph, node = pool(*geometry)
    assert needed(graph, {Ref("x"): (10, 10, 4)}, node, 0, span) == expected


def test_rows_under_padding() -> None:
    node = Node("pad", "PadV2", (Ref("x"), Ref("pads"), Ref("zero")))
    pads = const_node("pads", np.array([[0, 0], [2, 3], [1, 1], [0, 0]], np.int32))
    graph = Graph([Node("x", "Placeholder"), pads, const_node("zero", np.uint8(0)), node])
    sizes = {Ref("x"): (10, 10, 4)}
    assert needed(graph, sizes, node, 0, (0, 8)) == Need(0, 6, 2, 0)
    assert needed(graph, sizes, node, 0, (8, 15)) == Need(6, 10, 0, 3)


@pytest.mark.parametrize(
    "layer",
    [
        *(Layer(kind) for kind in ("conv", "depthwise", "wide depthwise", "max", "average", "add", "concat", "pad")),
        *(Layer("conv", 3, stride, 1, padding, (2, 1, 0, 1)) for stride in (1, 2) for padding in ("SAME", "EXPLICIT")),
        Layer("conv", 3, 1, 2, "VALID"),
        Layer("reshape"),
    ],
)
def test_the_sizes_of_images_follow_where_inference_gives_up(layer: Layer) -> None:
    case = lowered(net([layer], 11, 7))
    graph = case.int8.graph
    facts = {node.ref: (DType("quint8"), Shape.UNKNOWN) for node in graph}
    facts[Ref("x")] = (DType("float32"), Shape((None, 11, 7, 4)))
    sizes = image_sizes(graph, facts)
    refs = [node.ref for node in graph if node.op != "Const"]
    for ref, value in zip(refs, evaluate(graph, refs, case.feeds), strict=True):
        assert sizes[ref] == value.shape[1:], ref


@pytest.mark.parametrize("shape", [Shape.UNKNOWN, Shape((1, 4, 4)), Shape((1, None, 4, 4)), Shape((1, 4, 4, None))])
def test_what_is_no_image_of_known_size_has_none(shape: Shape) -> None:
    graph = Graph([Node("x", "Placeholder"), Node("y", "QuantizeV2", (Ref("x"),))])
    facts = {ref: (DType("float32"), shape) for ref in (Ref("x"), Ref("y"))}
    assert image_sizes(graph, facts) == {}
