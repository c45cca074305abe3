from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.ir import Attr, DType, Func, Graph, Node, Ref, Shape, nodes_equal
from eightfold.graph.text import format_graph, parse_graph
from eightfold.graph.writer import Writer


def small() -> Graph:
    w = Writer()
    x = w.input("x", (None, 8, 8, 3))
    y = w.bias(w.conv(x, np.full((3, 3, 3, 2), 0.5, np.float32), strides=2), np.array([1.5, -2.0]))
    return w.model(y=w.node("Relu", y)).graph


def test_the_short_form_says_what_a_reader_wants_to_know() -> None:
    assert format_graph(small()) == (
        "x = Placeholder() dtype=float32 shape=[?, 8, 8, 3]\n"
        "weight = float32[3, 3, 3, 2] #9d6376f7\n"
        "conv = Conv2D(x, weight) strides=2 padding=SAME\n"
        "bias = float32[2] {1.5, -2}\n"
        "biased = BiasAdd(conv, bias)\n"
        "relu = Relu(biased)\n"
    )


def test_inline_constants_are_written_where_they_are_read() -> None:
    assert format_graph(small(), ["conv", "biased"], constants="inline") == (
        "conv = Conv2D(x, float32[3, 3, 3, 2]) strides=2 padding=SAME\nbiased = BiasAdd(conv, 1.5, -2)\n"
    )


def test_chosen_nodes_come_with_their_constants() -> None:
    assert format_graph(small(), ["biased"]) == "bias = float32[2] {1.5, -2}\nbiased = BiasAdd(conv, bias)\n"


def test_the_digest_tells_constants_apart() -> None:
    def text(value: float) -> str:
        return format_graph(Graph([Node("c", "Const", (), {"dtype": DType("float32"), "value": filled(value)})]))

    def filled(value: float) -> np.ndarray:
        return np.full((2, 3), value, np.float32)

    assert text(1.0) == text(1.0)
    assert text(1.0) != text(1.0000001)


def test_full_text_is_read_back() -> None:
    again = parse_graph(format_graph(small(), constants="full"))
    assert all(nodes_equal(a, b) for a, b in zip(small(), again, strict=True))


def test_ports_control_inputs_and_quantized_constants_are_read_back() -> None:
    codes = Node("codes", "Const", (), {"dtype": DType("qint8"), "value": np.array([[-127, 3]], np.int8)})
    other = Node("f", "Const", (), {"dtype": DType("string"), "value": np.array(b"\xff,}", object)}, ("codes",))
    node = Node("y/z", "Op", (Ref("codes"), Ref("codes", 1)), {"N": 2}, ("f",))
    text = format_graph(Graph([codes, other, node]), constants="full")
    assert text == (
        'codes = qint8[1, 2] {-127, 3}\nf = string[] {"\\u00ff,}"} ^codes\ny/z = Op(codes, codes:1, ^f) N=2\n'
    )
    again = parse_graph(text)
    assert again["f"].value.item() == b"\xff,}"
    assert again["f"].control == ("codes",)
    assert nodes_equal(again["codes"], codes)
    assert nodes_equal(again["y/z"], node)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a = float32[2] #00112233", "line 2 of the graph's text: expected the values in {...}"),
        ("a Relu(x)", "expected ' = ', found ' Relu(x)'"),
        ("a = Relu(x", "expected an input, found 'the end'"),
        ("a = Relu() k", "expected key=value, found ' k'"),
        ("a = Relu() k=", "expected a value, found 'the end'"),
    ],
)
def test_a_fault_is_named_with_its_line(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_graph(f"x = Placeholder()\n{line}\n")


def test_comments_and_empty_lines_are_skipped() -> None:
    assert [node.name for node in parse_graph("# a net\n\nx = Placeholder()\n")] == ["x"]


NAMES = st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]{0,12}", fullmatch=True)
DTYPES = st.sampled_from(["float32", "qint8", "resource"]).map(DType)
SHAPES = st.one_of(st.just(Shape.UNKNOWN), st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=4).map(Shape))
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
    st.binary(max_size=8),
    st.sampled_from([b"SAME", b"BiasAdd", b"float32", b"true", b"Inf", b""]),
    DTYPES,
    SHAPES,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Func, NAMES, st.dictionaries(st.sampled_from(["a", "b.c", "_d"]), inner, max_size=2)),
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), VALUES, max_size=4))
def test_any_attribute_is_read_back(attrs: dict[str, Attr]) -> None:
    node = Node("n", "Op", (), attrs)
    again = parse_graph(format_graph(Graph([node]), constants="full"))["n"]
    assert nodes_equal(again, node)
    assert repr(again.attrs) == repr(dict(node.attrs))  # 1, 1.0 and True are equal, and not the same


KINDS = ["float32", "float64", "float16", "bfloat16", "int8", "int64", "uint64", "bool", "complex64"]


@given(st.data(), st.sampled_from(KINDS), st.lists(st.integers(0, 3), max_size=3))
def test_any_constant_is_read_back(data: st.DataObject, kind: str, shape: list[int]) -> None:
    if kind == "bfloat16":
        pytest.importorskip("ml_dtypes")
    raw = data.draw(st.binary(min_size=16 * 27, max_size=16 * 27))
    count = int(np.prod(shape, dtype=int))
    if kind == "bool":
        value = (np.frombuffer(raw, np.uint8)[:count] % 2 == 0).reshape(shape)
    else:
        value = np.frombuffer(raw, np.dtype(kind))[:count].reshape(shape)
    node = Node("c", "Const", (), {"dtype": DType(kind), "value": value})
    again = parse_graph(format_graph(Graph([node]), constants="full"))["c"].value
    assert again.dtype == value.dtype
    assert again.shape == value.shape
    np.testing.assert_array_equal(again, value)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.data())
def test_any_wiring_is_read_back_in_the_same_order(names: list[str], data: st.DataObject) -> None:
    nodes: list[Node] = []
    for name in names:
        earlier = st.sampled_from([n.name for n in nodes]) if nodes else st.nothing()
        some = 3 if nodes else 0
        inputs = data.draw(st.lists(st.builds(Ref, earlier, st.integers(0, 3)), max_size=some))
        control = data.draw(st.lists(earlier, max_size=some))
        nodes.append(Node(name, "Op", tuple(inputs), {}, tuple(control)))
    graph = Graph(nodes)
    assert list(parse_graph(format_graph(graph, constants="full"))) == list(graph)
