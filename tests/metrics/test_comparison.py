"""Two models on the same examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eightfold.errors import DataError
from eightfold.metrics import AUC, NDCG, MeanSquaredError, Metric, TopK, compare, drop
from eightfold.metrics.sample import Mean, Sample


def seen(metric: Metric, outputs: Any, labels: Any) -> Metric:
    metric.update(np.asarray(outputs), np.asarray(labels))
    return metric


def hits(right: np.ndarray) -> Metric:
    """Top-1 of a model that is right where told."""
    return seen(TopK(1), np.eye(2)[np.where(right, 0, 1)], np.zeros(len(right), int))


def test_a_difference_is_within_the_noise_or_not() -> None:
    right = np.arange(1000) < 750
    few, many = right.copy(), right.copy()
    few[:3] = False
    many[:30] = False
    small, large = compare(hits(right), hits(few)), compare(hits(right), hits(many))
    assert (small.reference.value, small.candidate.value, small.drop) == (0.75, 0.747, pytest.approx(0.003))
    assert (small.within_noise, small.verdict) == (True, "within the noise")
    assert (large.within_noise, large.verdict) == (False, "worse")
    assert compare(hits(many), hits(right)).verdict == "better"
    # Far narrower than what the two intervals of the single models would let one say.
    assert large.interval[1] - large.interval[0] < 0.03 < large.candidate.interval[1] - large.candidate.interval[0]


def test_the_same_answers_on_few_examples_prove_little() -> None:
    comparison = compare(hits(np.ones(20, bool)), hits(np.ones(20, bool)))
    assert comparison.difference == 0.0
    assert comparison.interval[0] < -0.1


def test_lower_is_better_for_errors() -> None:
    labels = np.zeros((50, 2))
    good, bad = (seen(MeanSquaredError(), np.full((50, 2), x), labels) for x in (1.0, 2.0))
    comparison = compare(good, bad)
    assert (comparison.difference, comparison.drop, comparison.verdict) == (3.0, 3.0, "worse")
    assert drop(bad.result(), good.result()) == -3.0
    assert comparison.interval == (3.0, 3.0)  # the same in each example


def test_the_paired_interval_of_a_mean_by_hand() -> None:
    first, second = seen(MeanSquaredError(), [[1.0], [2.0]], [[0.0], [0.0]]), MeanSquaredError()
    seen(second, [[2.0], [2.0]], [[0.0], [0.0]])  # 4 and 4 against 1 and 4
    half = 1.959963984540054 * np.std([3, 0], ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(compare(first, second).interval, (1.5 - half, 1.5 + half))


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="expected two metrics of one kind, received top1 and mse"):
        compare(hits(np.ones(3, bool)), MeanSquaredError())
    with pytest.raises(DataError, match="one has 4 predictions and the other 3"):
        compare(hits(np.ones(3, bool)), hits(np.ones(4, bool)))


@pytest.mark.parametrize(
    "make",
    [
        lambda rng, noise: seen(AUC(), _noisy(rng, 200, noise), _truth(200)),
        lambda rng, noise: seen(NDCG(5), rng.random((60, 10)) + noise * np.eye(10)[0], np.zeros(60, int)),
    ],
    ids=["auc", "ndcg"],
)
def test_a_model_compared_with_itself_has_no_difference(make: Callable[[Any, float], Metric]) -> None:
    rng = np.random.default_rng(0)
    metric = make(rng, 0.5)
    comparison = compare(metric, metric)
    assert (comparison.difference, comparison.interval) == (0.0, (0.0, 0.0))
    better = compare(make(np.random.default_rng(1), 0.0), make(np.random.default_rng(1), 1.0))
    assert better.verdict == "better"


def _truth(n: int) -> np.ndarray:
    return np.arange(n) % 2


def _noisy(rng: np.random.Generator, n: int, signal: float) -> np.ndarray:
    return rng.normal(size=n) + signal * _truth(n)


def test_the_mean_of_several_predictions_an_example() -> None:
    sample = Mean()
    sample.add(np.array([3.0, 8.0]), np.array([1, 4]))
    assert (sample.n, sample.value()) == (5, 2.2)
    # The linear part by hand: residuals 3 - 2.2 and 8 - 8.8, over the mean count 2.5.
    half = 1.959963984540054 * np.sqrt(2 * (0.8 / 2.5) ** 2 / 1 / 2)
    np.testing.assert_allclose(sample.interval(), (2.2 - half, 2.2 + half))
    checked: Sample = sample
    assert checked.n == 5
