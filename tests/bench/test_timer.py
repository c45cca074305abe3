from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.bench.timer import Ratio, percentile, speedup, timing

SECONDS = st.floats(1e-6, 1e3)


@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(0, 100))
def test_percentile_is_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-9)


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_timing_in_milliseconds() -> None:
    result = timing([[0.010, 0.012, 0.011], [0.013, 0.030, 0.013]])
    assert result.median_ms == pytest.approx(12.5)
    assert result.min_ms == pytest.approx(10)
    assert result.p99_ms == pytest.approx(29.15)
    assert result.spread == pytest.approx((13 - 11) / 12.5)
    assert (result.runs, result.rounds) == (6, 2)


@given(st.lists(st.lists(SECONDS, min_size=1, max_size=5), min_size=1, max_size=5))
def test_figures_are_in_order(rounds: list[list[float]]) -> None:
    result = timing(rounds)
    assert result.min_ms <= result.median_ms <= result.p99_ms * (1 + 1e-9)
    assert result.p90_ms <= result.p99_ms * (1 + 1e-9)
    assert result.spread >= 0


def test_speedup_is_paired_by_round() -> None:
    # The machine slows down threefold in the second round; the ratio must not see it.
    ratio = speedup([30, 10, 30], [120, 40, 120])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((4, 4, 4))
    assert str(ratio) == "4.00x"


@given(st.lists(SECONDS, min_size=1, max_size=5))
def test_speedup_over_itself_is_one(rates: list[float]) -> None:
    assert speedup(rates, rates) == Ratio(1, 1, 1)


def test_speedup_needs_equal_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        speedup([1.0, 1.0], [1.0])
