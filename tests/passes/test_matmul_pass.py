"""Products with a constant matrix become MatMul, whatever wrote them."""

from __future__ import annotations

import pytest
from unchanged import applied, kept, ops

from eightfold.graph.ir import DType, Node, Shape
from eightfold.graph.model import TensorSpec
from eightfold.graph.writer import Writer
from eightfold.passes.matmul import flatten_matmul

DYNAMIC = [(2, 3, 5), (None, 3, 5), (None, None, 5), (4, 5), (None, 2, 3, 5)]


@pytest.mark.parametrize("shape", DYNAMIC)
@pytest.mark.parametrize("turned", [True, False])
def test_batch_matmul_with_a_matrix(shape: tuple[int | None, ...], turned: bool) -> None:
    w = Writer()
    x = w.input("x", shape)
    weight = w.const(w.normal(7, 5) if turned else w.normal(5, 7))
    y = w.node("BatchMatMulV2", x, weight, attrs={"adj_x": False, "adj_y": turned})
    after = applied(flatten_matmul, w.model(y=y), on_tensorflow=True)
    assert ops(after)["MatMul"] == 1
    assert not ops(after)["BatchMatMulV2"]
    assert bool(ops(after)["Shape"]) == (shape.count(None) > 1)


def test_the_third_version() -> None:
    w = Writer()
    x = w.input("x", (2, 3, 5))
    weight = w.const(w.normal(5, 7))
    types = dict.fromkeys(("Ta", "Tb", "Tout"), DType("float32"))
    node = Node("y", "BatchMatMulV3", (x, weight), {"adj_x": False, "adj_y": False, **types})
    model = w.model(y=x)
    outputs = {"y": TensorSpec(node.ref, DType("float32"), Shape.UNKNOWN)}
    signatures = {"serving_default": model.default.but(outputs=outputs)}
    model = model.but(graph=model.graph.with_nodes([*model.graph, node]), signatures=signatures)
    after = applied(flatten_matmul, model, on_tensorflow=True)
    assert ops(after) == {"Reshape": 2, "MatMul": 1}


@pytest.mark.parametrize(
    ("equation", "x_shape", "weight_shape"),
    [("abc,cd->abd", (2, 3, 5), (5, 7)), ("ab,bc->ac", (3, 5), (5, 7)), ("bhwc,cd->bhwd", (2, 3, 4, 5), (5, 7))],
)
def test_einsum_with_a_matrix(equation: str, x_shape: tuple[int, ...], weight_shape: tuple[int, ...]) -> None:
    w = Writer()
    x = w.input("x", x_shape)
    y = w.node("Einsum", x, w.const(w.normal(*weight_shape)), attrs={"N": 2, "equation": equation.encode()})
    after = applied(flatten_matmul, w.model(y=y), on_tensorflow=True)
    assert ops(after)["MatMul"] == 1
    assert not ops(after)["Einsum"]


@pytest.mark.parametrize(
    ("equation", "x_shape", "weight_shape"),
    [
        ("abc,dc->abd", (2, 3, 5), (7, 5)),  # the weight is turned
        ("abc,cd->adb", (2, 3, 5), (5, 7)),  # so is the result
        ("abc,bcd->ad", (2, 3, 5), (3, 5, 7)),  # two axes are contracted
        ("abc,ac->ab", (2, 3, 5), (2, 5)),  # a product for each row
    ],
)
def test_other_equations_stay(equation: str, x_shape: tuple[int, ...], weight_shape: tuple[int, ...]) -> None:
    w = Writer()
    x = w.input("x", x_shape)
    y = w.node("Einsum", x, w.const(w.normal(*weight_shape)), attrs={"N": 2, "equation": equation.encode()})
    assert kept(flatten_matmul, w.model(y=y))


def test_products_of_activations_and_of_stacks_stay() -> None:
    w = Writer()
    x = w.input("x", (2, 3, 5))
    plain = {"adj_x": False, "adj_y": False}
    assert kept(flatten_matmul, w.model(y=w.node("BatchMatMulV2", x, x, attrs={**plain, "adj_y": True})))
    assert kept(flatten_matmul, w.model(y=w.node("BatchMatMulV2", x, w.const(w.normal(2, 5, 7)), attrs=plain)))
    turned = {"adj_x": True, "adj_y": False}
    assert kept(flatten_matmul, w.model(y=w.node("BatchMatMulV2", x, w.const(w.normal(3, 7)), attrs=turned)))
