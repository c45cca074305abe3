"""Mean squared error, and signal to noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.errors import DataError
from eightfold.metrics import MeanSquaredError, sqnr_db


def test_by_hand() -> None:
    metric = MeanSquaredError()
    metric.update(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [3.0, 0.0]]))
    result = metric.result()
    assert (result.name, result.value, result.n) == ("mse", 5.0, 2)  # examples: 2 and 8
    half = 1.959964 * math.sqrt(18 / 2)
    np.testing.assert_allclose(result.interval, (0.0, 5 + half), rtol=1e-6)


@given(seed=st.integers(0, 2**31), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_the_cut_into_batches_does_not_matter(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    n = sum(sizes) + 2
    outputs, expected = rng.normal(100, 1, (2, n, 3))
    metric = MeanSquaredError()
    edges = [0, *np.cumsum(sizes).tolist(), n]
    for start, stop in itertools.pairwise(edges):
        metric.update(outputs[start:stop], expected[start:stop])
    each = np.square(outputs - expected).mean(axis=1)
    half = 1.959963984540054 * each.std(ddof=1) / math.sqrt(n)
    result = metric.result()
    assert result.n == n
    np.testing.assert_allclose(result.value, each.mean(), rtol=1e-12)
    np.testing.assert_allclose(result.interval, (max(0, each.mean() - half), each.mean() + half), rtol=1e-9)


def test_one_example_and_none() -> None:
    metric = MeanSquaredError()
    with pytest.raises(DataError, match="mse has no value"):
        metric.result()
    metric.update(np.array([[2.0]]), np.array([4.0]))
    assert metric.result().value == 4.0
    assert metric.result().interval == (0.0, math.inf)


def test_shapes() -> None:
    with pytest.raises(DataError, match=r"of one shape, and they are \[2, 3\] and \[2\]"):
        MeanSquaredError().update(np.zeros((2, 3)), np.zeros(2))


def test_8_bit_outputs_do_not_wrap() -> None:
    metric = MeanSquaredError()
    metric.update(np.array([[0]], np.uint8), np.array([[255]], np.uint8))
    assert metric.result().value == 65025.0


def test_sqnr_by_hand() -> None:
    assert sqnr_db(np.array([10.0, 0.0]), np.array([10.0, 1.0])) == pytest.approx(20.0)
    assert sqnr_db(np.ones(3), np.ones(3)) == math.inf
    assert sqnr_db(np.zeros(3), np.ones(3)) == -math.inf
    assert sqnr_db(np.ones(3), np.array([1.0, np.nan, 1.0])) == -math.inf
    with pytest.raises(DataError, match=r"received \[3\] and \[4\]"):
        sqnr_db(np.ones(3), np.ones(4))


def test_8_bit_rounding_has_the_ratio_that_theory_gives() -> None:
    # A uniform signal over all of b bits: 6.02 b dB (Widrow and Kollar, "Quantization Noise", 2008).
    x = np.random.default_rng(0).uniform(-0.5, 255.5, 200_000) - 127.5
    assert sqnr_db(x, np.rint(x + 127.5) - 127.5) == pytest.approx(8 * 6.0206, abs=0.05)
