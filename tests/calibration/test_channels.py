"""The range of each channel, reduced in the graph; run in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.calibration.channels import ChannelRange, collect_channels
from eightfold.calibration.collect import Run
from eightfold.errors import DataError
from eightfold.graph.ir import Array, Graph, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer

X, ACT, PRODUCT = Ref("x"), Ref("act"), Ref("product")


def model() -> Model:
    w = Writer()
    act = w.node("Relu", w.conv(w.input("x", (None, 5, 5, 3)), w.normal(3, 3, 3, 4)), name="act")
    flat = w.node("Reshape", act, w.const([-1, 4]), attrs={"Tshape": "int32"})
    return w.model(y=w.node("MatMul", flat, w.const(w.normal(4, 2)), attrs={"transpose_b": False}, name="product"))


@contextmanager
def in_numpy(graph: Graph) -> Iterator[Run]:
    def run(fetches: Sequence[Ref], feeds: Mapping[Ref, Array]) -> list[Array]:
        return evaluate(graph, fetches, feeds)

    yield run


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_ranges_are_those_of_all_batches_together(sizes: list[int]) -> None:
    m = model()
    random = np.random.default_rng(len(sizes))
    batches = [random.normal(0, 1, (size, 5, 5, 3)).astype(np.float32) for size in sizes]
    found = collect_channels(m.graph, {ACT: 4, PRODUCT: 2, X: 3}, lambda: [{X: b} for b in batches], in_numpy)
    expected = evaluate(m.graph, [ACT, PRODUCT, X], {X: np.concatenate(batches)})
    for tensor, values in zip((ACT, PRODUCT, X), expected, strict=True):
        rows = values.reshape(-1, values.shape[-1])
        np.testing.assert_allclose(found[tensor].lo, rows.min(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found[tensor].hi, rows.max(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found[tensor].magnitude, np.abs(rows).max(axis=0), rtol=1e-5)


def test_no_data_is_an_error() -> None:
    with pytest.raises(DataError, match="the calibration data is empty; expected at least one batch"):
        collect_channels(model().graph, {ACT: 4}, list, in_numpy)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad: float) -> None:
    image = np.zeros((1, 5, 5, 3), np.float32)
    image[0, 2, 2, 1] = bad
    with pytest.raises(DataError, match="tensor x:0 have no values, or become NaN or infinite"):
        collect_channels(model().graph, {X: 3}, lambda: [{X: image}], in_numpy)


def test_the_union_of_two() -> None:
    a = ChannelRange(np.array([0.0, -3.0]), np.array([1.0, 2.0]))
    b = ChannelRange(np.array([-2.0, -1.0]), np.array([0.5, 4.0]))
    both = a.union(b)
    assert (both.lo.tolist(), both.hi.tolist()) == ([-2.0, -3.0], [1.0, 4.0])
    assert both.magnitude.tolist() == [2.0, 4.0]
