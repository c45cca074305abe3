"""What follows a matrix product on more than two axes is done on two."""

from __future__ import annotations

import numpy as np
import pytest
from unchanged import applied, context, kept, ops

from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.passes.pipeline import EXPORT, run_passes
from eightfold.passes.sink_reshape import sink_reshapes


def product(w: Writer, *axes: int, units: int = 6) -> Ref:
    """[6, 5] times [5, units], reshaped to some axes."""
    return reshaped(w, w.matmul(w.input("x", (6, 5)), w.normal(5, units)), *axes)


def reshaped(w: Writer, x: Ref, *axes: int) -> Ref:
    return w.node("Reshape", x, w.const(axes), attrs={"Tshape": DType("int32")})


def order(model: Model) -> list[str]:
    return [node.op for node in model.graph if node.op not in ("Const", "Placeholder")]


@pytest.mark.parametrize("shape", [(6,), (1, 1, 6), (1, 6), (), (1, 1, 1)])
def test_a_number_for_each_column(shape: tuple[int, ...]) -> None:
    w = Writer()
    added = w.node("AddV2", product(w, 2, 3, 6), w.const(np.asarray(w.normal(*shape))))
    model = w.model(y=w.node("Relu", added))
    assert order(applied(sink_reshapes, model)) == ["MatMul", "AddV2", "Relu", "Reshape"]


@pytest.mark.parametrize("shape", [(3, 2), (1, 3, 2), (1, 1, 3, 2), ()])
def test_columns_dealt_out_to_heads(shape: tuple[int, ...]) -> None:
    """The bias of multi-head attention has a number for each head and unit."""
    w = Writer()
    added = w.node("AddV2", product(w, 2, 3, 3, 2), w.const(np.asarray(w.normal(*shape))))
    y = w.node("Mul", added, w.const(0.5))
    assert order(applied(sink_reshapes, w.model(y=y))) == ["MatMul", "AddV2", "Mul", "Reshape"]
    folded = run_passes(w.model(y=y), context(), EXPORT)
    assert ops(folded) == {"MatMul": 1, "BiasAdd": 1, "Reshape": 1}


@pytest.mark.parametrize("shape", [(2,), (3, 1), (2, 3, 3, 2), (1, 1, 1, 1, 1)])
def test_other_constants_stay_behind_the_heads(shape: tuple[int, ...]) -> None:
    w = Writer()
    assert kept(sink_reshapes, w.model(y=w.node("AddV2", product(w, 2, 3, 3, 2), w.const(w.normal(*shape)))))


def test_of_several_reshapes_in_a_row_the_last_counts() -> None:
    w = Writer()
    heads = reshaped(w, reshaped(w, product(w, 2, 3, 6), 3, 2, 6), 2, 3, 3, 2)
    y = w.node("AddV2", heads, w.const(w.normal(3, 2)))
    assert order(applied(sink_reshapes, w.model(y=y))) == ["MatMul", "AddV2", "Reshape"]


def test_rows_that_are_torn_apart_stay() -> None:
    w = Writer()
    assert kept(sink_reshapes, w.model(y=w.node("AddV2", product(w, 9, 4), w.const(w.normal(4)))))
    w = Writer()
    attrs = {"data_format": b"NCHW"}
    assert kept(sink_reshapes, w.model(y=w.node("BiasAdd", product(w, 1, 6, 6), w.const(w.normal(6)), attrs=attrs)))
