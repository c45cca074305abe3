from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.calibration.clipping import squared_errors
from eightfold.calibration.histogram import BINS, Histogram
from eightfold.errors import DataError
from eightfold.graph.ranges import Range


def histogram(x: np.ndarray, lo: float, hi: float) -> Histogram:
    return Histogram(np.histogram(x, BINS, (lo, hi))[0].astype(np.float64), Range(lo, hi))


def test_positions_and_values() -> None:
    h = histogram(np.array([-1.0, 3.0]), -1, 3)
    assert h.zero == BINS / 4
    assert (h.value(0), h.value(BINS / 4), h.value(BINS)) == (-1, 0, 3)


@given(share=st.floats(0, 1))
def test_quantile_is_that_of_numpy_within_a_bin(share: float) -> None:
    x = np.random.default_rng(0).normal(size=4000)
    h = histogram(x, x.min(), x.max())
    expected = np.quantile(x, share, method="inverted_cdf")
    assert h.quantile(share) == pytest.approx(expected, abs=(x.max() - x.min()) / BINS)


def test_magnitudes_count_absolute_values() -> None:
    x = np.random.default_rng(0).normal(size=100_000) + 0.3
    folded = histogram(x, x.min(), x.max()).magnitudes()
    expected = np.histogram(np.abs(x), BINS, (0, np.abs(x).max()))[0]
    assert folded.span == Range(0, np.abs(x).max())
    assert folded.counts.sum() == pytest.approx(x.size)
    assert np.abs(np.cumsum(folded.counts) - np.cumsum(expected)).max() < 0.001 * x.size


def test_magnitudes_of_a_tensor_from_zero_are_its_own_histogram() -> None:
    h = histogram(np.random.default_rng(0).uniform(0, 5, 1000), 0, 5)
    np.testing.assert_array_equal(h.magnitudes().counts, h.counts)
    assert h.including_zero() is h


@pytest.mark.parametrize(("lo", "hi"), [(2.0, 5.0), (-5.0, -2.0)])
def test_including_zero_keeps_every_value_where_it_was(lo: float, hi: float) -> None:
    h = histogram(np.random.default_rng(0).uniform(lo, hi, 10_000), lo, hi)
    wider = h.including_zero()
    assert wider.span == Range(lo, hi).including_zero()
    assert wider.counts.sum() == pytest.approx(10_000)
    assert wider.quantile(0.5) == pytest.approx(h.quantile(0.5), abs=0.01)


def test_zero_spike_is_the_excess_over_the_bins_beside() -> None:
    counts = np.full(BINS, 3.0)
    counts[BINS // 2] = 1000
    body, spike = Histogram(counts, Range(-1, 1)).split_zero_spike()
    assert spike == 997
    np.testing.assert_array_equal(body, np.full(BINS, 3.0))


@pytest.mark.parametrize("window", [(0.0, 2048.0), (0.0, 700.0), (300.0, 1500.0), (0.0, 40.0), (-500.0, 2548.0)])
@pytest.mark.parametrize("steps", [255, 254, 15])
def test_squared_errors_are_those_of_evenly_spread_values(window: tuple[float, float], steps: int) -> None:
    """The closed form against brute force: 64 values spread over each bin, clipped and rounded."""
    counts = np.random.default_rng(4).integers(0, 50, BINS).astype(np.float64)
    h = Histogram(counts, Range(-1, 1))
    counts = h.split_zero_spike()[0]
    x = (np.arange(BINS)[:, None] + (np.arange(64) + 0.5) / 64).ravel()
    step = (window[1] - window[0]) / steps
    coded = np.clip(np.rint((x - window[0]) / step), 0, steps) * step + window[0]
    expected = np.average((x - coded) ** 2, weights=np.repeat(counts, 64))
    spikeless = Histogram(counts, Range(-1, 1))
    found = squared_errors(spikeless, np.array([window[0]]), np.array([window[1]]), steps, clipped=1.0)
    assert found[0] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("counts", "span"),
    [
        (np.ones(8), Range(0, 1)),
        (np.zeros(BINS), Range(0, 1)),
        (-np.ones(BINS), Range(0, 1)),
        (np.full(BINS, np.nan), Range(0, 1)),
        (np.ones(BINS), Range(1, 1)),
    ],
)
def test_histograms_that_make_no_sense_are_refused(counts: np.ndarray, span: Range) -> None:
    with pytest.raises(DataError, match="a histogram must"):
        Histogram(counts, span)
