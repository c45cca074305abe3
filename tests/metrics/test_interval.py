"""Confidence intervals: published values, and whether they hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.metrics.interval import around, newcombe, resamples, standard_error, wilson

COUNTS = st.integers(0, 300)


class TestWilson:
    def test_published_values(self) -> None:
        # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3
        for hits, n, low, high in (
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ):
            np.testing.assert_allclose(wilson(hits, n), (low, high), atol=6e-5)

    @given(n=st.integers(1, 10_000), data=st.data())
    def test_holds_the_value(self, n: int, data: st.DataObject) -> None:
        hits = data.draw(st.integers(0, n))
        low, high = wilson(hits, n)
        assert 0 <= low <= hits / n <= high <= 1


class TestNewcombe:
    def test_two_models_that_never_differ(self) -> None:
        assert newcombe(0, 0, 0, 10) == pytest.approx((-0.2775, 0.2775), abs=1e-4)  # Wilson's upper end of 0 of 10
        low, high = newcombe(90, 0, 0, 10)
        assert low == pytest.approx(-high)
        assert 0.005 < high < 0.04

    def test_near_the_normal_interval_for_many_examples(self) -> None:
        both, first, second, neither = 7940, 1500, 860, 5700  # Agresti's approval ratings, ten times as many
        n = both + first + second + neither
        difference = (first - second) / n
        half = 1.959964 * math.sqrt((first + second) / n - difference**2) / math.sqrt(n)
        np.testing.assert_allclose(
            newcombe(both, first, second, neither), (difference - half, difference + half), atol=3e-4
        )

    @given(both=COUNTS, first=COUNTS, second=COUNTS, neither=st.integers(1, 300))
    def test_order_and_sign(self, both: int, first: int, second: int, neither: int) -> None:
        low, high = newcombe(both, first, second, neither)
        difference = (first - second) / (both + first + second + neither)
        assert -1 <= low <= difference <= high <= 1
        np.testing.assert_allclose(newcombe(both, second, first, neither), (-high, -low), atol=1e-12)

    def test_holds_the_truth_19_times_in_20(self) -> None:
        rng = np.random.default_rng(0)
        cells = [0.70, 0.06, 0.04, 0.20]
        for n in (50, 500):
            intervals = [newcombe(*counts) for counts in rng.multinomial(n, cells, 2000).tolist()]
            held = np.mean([low <= 0.02 <= high for low, high in intervals])
            assert 0.935 <= held <= 0.985


def test_standard_error_by_hand() -> None:
    assert standard_error(np.array([-1.0, 1.0])) == 1.0
    assert standard_error(np.array([0.0])) == math.inf


def test_around_is_cut() -> None:
    np.testing.assert_allclose(around(0.9, 0.1, 0.0, 1.0), (0.9 - 0.1959964, 1.0), rtol=1e-6)
    assert around(3.0, math.inf) == (-math.inf, math.inf)


def test_resamples_are_the_same_each_time_and_draw_n() -> None:
    first, second = list(resamples(50)), list(resamples(50))
    np.testing.assert_array_equal(first, second)
    assert {int(weights.sum()) for weights in first} == {50}
    assert np.std(first) == pytest.approx(1.0, abs=0.02)  # each example is drawn once on average, Poisson-like
