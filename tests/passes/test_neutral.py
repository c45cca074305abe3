"""Multiplications by one and additions of zero."""

from __future__ import annotations

import numpy as np
import pytest
from unchanged import applied, kept, ops

from eightfold.graph.writer import Writer
from eightfold.passes.neutral import drop_neutral


@pytest.mark.parametrize(("op", "number"), [("Mul", 1), ("RealDiv", 1), ("Add", 0), ("AddV2", 0), ("Sub", 0)])
def test_what_changes_nothing_goes(op: str, number: int) -> None:
    w = Writer()
    x = w.input("x", (2, 3))
    y = w.node(op, w.node("Relu", x), w.const(float(number)))
    assert ops(applied(drop_neutral, w.model(y=y))) == {"Relu": 1}


def test_swish_is_one_product() -> None:
    w = Writer()
    x = w.node("Relu", w.input("x", (2, 3)))
    y = w.node("Mul", x, w.node("Sigmoid", w.node("Mul", w.const(1.0), x)))
    assert ops(applied(drop_neutral, w.model(y=y))) == {"Relu": 1, "Sigmoid": 1, "Mul": 1}


@pytest.mark.parametrize(
    ("op", "value"),
    [("Mul", 2.0), ("Mul", 0.0), ("AddV2", 1.0), ("Mul", np.ones((4, 1, 3), np.float32)), ("AddV2", np.zeros(3))],
)
def test_other_constants_stay(op: str, value: float) -> None:
    w = Writer()
    assert kept(drop_neutral, w.model(y=w.node(op, w.input("x", (2, 3)), w.const(value))))


@pytest.mark.parametrize(("op", "number"), [("RealDiv", 1), ("Sub", 0)])
def test_the_order_counts(op: str, number: int) -> None:
    w = Writer()
    assert kept(drop_neutral, w.model(y=w.node(op, w.const(float(number)), w.input("x", (2, 3)))))
