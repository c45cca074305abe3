"""Observers on distributions whose right answer is known, and properties that hold for any tensor."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eightfold.calibration.clipping import _divergences
from eightfold.calibration.histogram import BINS
from eightfold.calibration.observers import OBSERVERS, Observer, make_observer
from eightfold.errors import DataError, RecipeError
from eightfold.graph.ranges import Range

Floats = npt.NDArray[np.float64]

NAMES = sorted(OBSERVERS)
CLIPPING = ("percentile", "kl", "mse")
ENCODINGS = ("affine", "symmetric")


def watch(name: str, *batches: Floats, **options: Any) -> Observer:
    """An observer that has seen batches in two passes, as a calibration shows them."""
    observer = make_observer(name, **options)
    for batch in batches:
        observer.update(batch.min(), batch.max())
    seen = observer.seen
    for batch in batches:
        if observer.needs_histogram and seen.hi > seen.lo:
            observer.add_histogram(np.histogram(batch, BINS, (seen.lo, seen.hi))[0])
    return observer


def measured_mse(x: Floats, r: Range, encoding: str, clipped: float = 16.0) -> float:
    """The squared error of really coding the samples in 8 bits over a range; what is clipped counts 16 times."""
    if encoding == "symmetric":
        r = Range(-r.magnitude, r.magnitude)
        step = r.magnitude / 127
        coded = np.clip(np.rint(x / step), -127, 127) * step
    else:
        step = (r.hi - r.lo) / 255
        coded = np.clip(np.rint((x - r.lo) / step), 0, 255) * step + r.lo
    weight = np.where((x < r.lo) | (x > r.hi), clipped, 1.0)
    return float(np.mean(weight * (x - coded) ** 2))


def distributions() -> dict[str, Floats]:
    rng = np.random.default_rng(7)
    n = 50_000
    normal = rng.normal(size=n)
    return {
        "gaussian": normal,
        "laplace": rng.laplace(size=n),
        "laplace with outliers": np.r_[rng.laplace(size=n), rng.normal(size=20) * 100],
        "relu": np.maximum(normal, 0),
        "sparse relu": np.maximum(normal - 2.5, 0),
        "relu with an outlier": np.r_[np.maximum(normal, 0), 50.0],
        "relu6": np.clip(4 * normal, 0, 6),
        "swish": 3 * normal / (1 + np.exp(-3 * normal)),
        "negative": -np.abs(normal),
        "far from zero": normal + 20,
        "uniform": rng.uniform(-1, 3, size=n),
        "pixels": rng.integers(0, 256, size=n).astype(float),
        "student t": rng.standard_t(2, size=n),
        "few values": rng.laplace(size=60),
    }


DISTRIBUTIONS = distributions()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_mse_is_never_worse_than_minmax(distribution: str, encoding: str) -> None:
    x = DISTRIBUTIONS[distribution]
    clipped = watch("mse", x, encoding=encoding).range()
    whole = watch("minmax", x, encoding=encoding).range()
    assert measured_mse(x, clipped, encoding) <= measured_mse(x, whole, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("distribution", ["gaussian", "laplace", "laplace with outliers", "relu", "negative"])
def test_mse_finds_nearly_the_best_of_all_clips(distribution: str, encoding: str) -> None:
    x = DISTRIBUTIONS[distribution]
    whole = watch("minmax", x).range()
    best = min(
        measured_mse(x, Range(max(whole.lo, -t), min(whole.hi, t)), encoding)
        for t in np.linspace(0.05, 1, 96) * whole.magnitude
    )
    assert measured_mse(x, watch("mse", x, encoding=encoding).range(), encoding) <= 1.02 * best


def test_mse_keeps_the_full_range_where_clipping_gains_nothing() -> None:
    assert watch("mse", DISTRIBUTIONS["uniform"]).range().magnitude == pytest.approx(3, abs=0.02)
    assert watch("mse", DISTRIBUTIONS["pixels"]).range() == Range(0, 255)


def test_mse_clips_both_ends_of_a_lopsided_tensor_on_their_own() -> None:
    x = np.r_[np.random.default_rng(0).normal(size=20_000), [-5.0, 40.0]]
    grid = [Range(-a, b) for a in np.linspace(2.5, 5, 20) for b in np.linspace(10, 40, 25)]
    best = min(measured_mse(x, r, "affine") for r in grid)
    clipped = watch("mse", x).range()
    assert measured_mse(x, clipped, "affine") <= 1.005 * best
    assert clipped.lo > -5
    assert clipped.hi < 40


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_kl_clips_outliers(encoding: str) -> None:
    x = DISTRIBUTIONS["laplace with outliers"]
    clipped = watch("kl", x, encoding=encoding).range()
    assert clipped.magnitude < 0.25 * np.abs(x).max()
    assert clipped.magnitude > np.quantile(np.abs(x), 0.999)


def test_kl_clips_little_of_a_gaussian() -> None:
    x = DISTRIBUTIONS["gaussian"]
    magnitude = watch("kl", x, encoding="symmetric").range().magnitude
    assert 3.5 < magnitude <= np.abs(x).max()


def test_kl_of_a_uniform_tensor_clips_nothing() -> None:
    clipped = watch("kl", DISTRIBUTIONS["uniform"]).range()
    assert (clipped.lo, clipped.hi) == pytest.approx((-1, 3), abs=0.01)


def test_kl_does_not_mind_the_zeros_of_a_relu() -> None:
    rng = np.random.default_rng(2)
    half_normal = np.abs(rng.normal(size=200_000))
    zeros = np.zeros(800_000)
    with_spike = watch("kl", np.r_[half_normal, zeros]).range()
    without = watch("kl", half_normal).range()
    assert with_spike.hi == pytest.approx(without.hi, rel=0.05)
    assert with_spike.hi > 3


def test_kl_keeps_values_far_from_zero() -> None:
    assert watch("kl", DISTRIBUTIONS["far from zero"]).range().hi > 22


def migacz(counts: Floats, stop: int, levels: int) -> float:
    """His loop for one threshold: the outside joins P's last bin, Q is spread over the bins that P fills."""
    p = counts[:stop].copy()
    p[-1] += counts[stop:].sum()
    q = np.zeros(stop)
    for first, last in pairwise(np.arange(levels + 1) * stop // levels):
        filled = p[first:last] > 0
        if filled.any():
            q[first:last][filled] = counts[first:last].sum() / filled.sum()
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@pytest.mark.parametrize("levels", [128, 256])
def test_kl_divergences_equal_the_direct_computation(levels: int) -> None:
    counts = np.random.default_rng(3).poisson(np.geomspace(200, 0.3, BINS)).astype(float)
    stops = np.arange(levels, BINS + 1, 7)
    found = _divergences(counts, np.zeros_like(stops), stops, levels)
    assert np.isfinite(found).all()
    plain = counts[stops - 1] > 0  # elsewhere the loop divides by zero: P's last bin holds only what is outside
    assert 20 < plain.sum() < stops.size
    expected = [migacz(counts, stop, levels) for stop in stops[plain]]
    np.testing.assert_allclose(found[plain], expected, rtol=1e-9)


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentile_of_a_signed_tensor_is_that_of_numpy_on_both_sides(percentile: float) -> None:
    x = DISTRIBUTIONS["laplace"]
    bin_width = (x.max() - x.min()) / BINS
    found = watch("percentile", x, percentile=percentile).range()
    for bound, share in ((found.lo, 100 - percentile), (found.hi, percentile)):
        # In the tails, samples are farther apart than bins: between two of them a percentile is a convention.
        assert bound >= np.percentile(x, share, method="lower") - bin_width
        assert bound <= np.percentile(x, share, method="higher") + bin_width


def test_percentile_cuts_one_sided_tensors_on_one_side() -> None:
    relu, negative = DISTRIBUTIONS["relu"], DISTRIBUTIONS["negative"]
    above = watch("percentile", relu, percentile=99.0).range()
    below = watch("percentile", negative, percentile=99.0).range()
    assert above.lo == 0
    assert above.hi == pytest.approx(np.percentile(relu, 99), abs=relu.max() / BINS)
    assert below.hi == 0
    assert below.lo == pytest.approx(np.percentile(negative, 1), abs=-negative.min() / BINS)


def test_percentile_of_the_symmetric_encoding_is_that_of_magnitudes() -> None:
    x = DISTRIBUTIONS["swish"]
    found = watch("percentile", x, percentile=99.5, encoding="symmetric").range()
    assert found.magnitude == pytest.approx(np.percentile(np.abs(x), 99.5), abs=(x.max() - x.min()) / BINS)


def test_percentile_100_is_minmax() -> None:
    x = DISTRIBUTIONS["gaussian"]
    found, whole = watch("percentile", x, percentile=100).range(), watch("minmax", x).range()
    assert (found.lo, found.hi) == pytest.approx((whole.lo, whole.hi), rel=1e-12)


def test_moving_average_follows_its_formula() -> None:
    observer = make_observer("moving-average", momentum=0.8)
    for lo, hi in [(-1, 2), (-3, 4), (-2, 9)]:
        observer.update(lo, hi)
    scale = 1 - 0.8**3
    assert observer.range().lo == pytest.approx(-(0.2 * 0.64 * 1 + 0.2 * 0.8 * 3 + 0.2 * 2) / scale)
    assert observer.range().hi == pytest.approx((0.2 * 0.64 * 2 + 0.2 * 0.8 * 4 + 0.2 * 9) / scale)


def test_moving_average_of_one_batch_is_that_batch() -> None:
    found = watch("moving-average", np.array([-1.5, 2.5])).range()
    assert (found.lo, found.hi) == pytest.approx((-1.5, 2.5))


def test_minmax_covers_all_batches() -> None:
    assert watch("minmax", np.array([1.0, 2.0]), np.array([-3.0, 0.5])).range() == Range(-3, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("value", "expected"), [(0.0, Range(0, 0)), (2.5, Range(0, 2.5)), (-2.5, Range(-2.5, 0))])
def test_constant_tensors_have_the_range_from_zero(name: str, value: float, expected: Range) -> None:
    found = watch(name, np.full(10, value)).range()
    assert (found.lo, found.hi) == pytest.approx((expected.lo, expected.hi))


@pytest.mark.parametrize("name", CLIPPING)
def test_one_sided_tensors_stay_one_sided(name: str) -> None:
    assert watch(name, DISTRIBUTIONS["negative"]).range().hi == 0
    assert watch(name, DISTRIBUTIONS["relu"]).range().lo == 0
    assert not watch(name, DISTRIBUTIONS["relu"]).range().signed


tensors = hnp.arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-8, 8, width=32) | st.just(0.0),
).map(lambda x: x.astype(np.float64))


@settings(max_examples=150)
@given(x=tensors, name=st.sampled_from(NAMES), encoding=st.sampled_from(ENCODINGS))
def test_range_contains_zero_and_stays_inside_what_was_seen(x: Floats, name: str, encoding: str) -> None:
    found = watch(name, x, encoding=encoding).range()
    assert min(x.min(), 0) <= found.lo <= 0 <= found.hi <= max(x.max(), 0)


@settings(max_examples=40)
@given(
    batches=st.lists(tensors, min_size=2, max_size=5),
    name=st.sampled_from(["minmax", *CLIPPING]),
    encoding=st.sampled_from(ENCODINGS),
    random=st.randoms(use_true_random=False),
)
def test_order_and_grouping_of_batches_do_not_matter(
    batches: list[Floats], name: str, encoding: str, random: Any
) -> None:
    shuffled = list(batches)
    random.shuffle(shuffled)
    expected = watch(name, np.concatenate(batches), encoding=encoding).range()
    assert watch(name, *batches, encoding=encoding).range() == expected
    assert watch(name, *shuffled, encoding=encoding).range() == expected


@settings(max_examples=40)
@given(
    scale=st.floats(1e-20, 1e20),
    name=st.sampled_from(CLIPPING),
    encoding=st.sampled_from(ENCODINGS),
    distribution=st.sampled_from(["gaussian", "relu", "student t", "swish"]),
)
def test_range_scales_with_the_tensor(scale: float, name: str, encoding: str, distribution: str) -> None:
    x = DISTRIBUTIONS[distribution]
    power_of_two = 2.0 ** round(np.log2(scale))
    found, scaled = (watch(name, y, encoding=encoding).range() for y in (x, power_of_two * x))
    assert (scaled.lo, scaled.hi) == pytest.approx((found.lo * power_of_two, found.hi * power_of_two), abs=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("lo", "hi"), [(np.nan, 1.0), (0.0, np.inf), (-np.inf, 0.0), (2.0, 1.0)])
def test_bad_extremes_are_refused(name: str, lo: float, hi: float) -> None:
    with pytest.raises(DataError, match=r"finite bounds|lower bound first"):
        make_observer(name).update(lo, hi)


@pytest.mark.parametrize("name", NAMES)
def test_no_batch_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"the {name} observer needs at least one batch, received none"):
        make_observer(name).range()


@pytest.mark.parametrize("name", CLIPPING)
def test_bad_histograms_are_refused(name: str) -> None:
    observer = make_observer(name)
    observer.update(0, 1)
    with pytest.raises(DataError, match="needs a histogram"):
        observer.range()
    for counts in (np.zeros(7, np.int64), np.zeros(BINS), np.full(BINS, -1)):
        with pytest.raises(DataError, match=f"{BINS} integer counts"):
            observer.add_histogram(counts)


def test_a_wider_batch_after_a_histogram_is_refused() -> None:
    observer = watch("mse", np.array([0.0, 1.0]))
    observer.update(0.2, 0.8)
    with pytest.raises(DataError, match="histograms were taken over"):
        observer.update(0, 2)


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown observer 'percentil'.*did you mean 'percentile'\?"):
        make_observer("percentil")
    with pytest.raises(RecipeError, match=r"unknown option 'momentun'.*did you mean 'momentum'\?"):
        make_observer("moving-average", momentun=0.9)
    with pytest.raises(RecipeError, match=r"expected encoding$"):
        make_observer("kl", percentile=99)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("percentile", {"percentile": 50}),
        ("percentile", {"percentile": 100.1}),
        ("moving-average", {"momentum": 1.0}),
        ("minmax", {"encoding": "unsigned"}),
    ],
)
def test_options_outside_their_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="must be"):
        make_observer(name, **options)
