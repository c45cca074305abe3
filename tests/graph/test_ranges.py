from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.errors import DataError
from eightfold.graph.ranges import Range

ranges = st.tuples(st.floats(-1e38, 1e38), st.floats(-1e38, 1e38)).map(lambda b: Range(min(b), max(b)))


def test_magnitude_and_sign() -> None:
    assert Range(-3, 2).magnitude == 3
    assert Range(-3, 2).signed
    assert not Range(-0.0, 2).signed


@given(a=ranges, b=ranges)
def test_union_is_the_smallest_range_over_both(a: Range, b: Range) -> None:
    assert a.union(b) == b.union(a) == Range(min(a.lo, b.lo), max(a.hi, b.hi))


@given(r=ranges)
def test_including_zero_adds_nothing_but_zero(r: Range) -> None:
    assert r.including_zero() == r.union(Range(0, 0))
    assert r.including_zero().magnitude == r.magnitude


@pytest.mark.parametrize("bounds", [(math.nan, 1), (0, math.inf), (-math.inf, 0)])
def test_bounds_must_be_finite(bounds: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="finite bounds, received"):
        Range(*bounds)


def test_bounds_must_be_in_order() -> None:
    with pytest.raises(DataError, match=r"lower bound first, received \[2, 1\]"):
        Range(2, 1)
