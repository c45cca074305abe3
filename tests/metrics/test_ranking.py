"""HR and NDCG, by hand and against scikit-learn."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from eightfold.errors import DataError
from eightfold.metrics import NDCG, HitRate, Metric

SCORES = np.array([[0.1, 0.9, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])


def value(metric: Metric, outputs: Any, labels: Any) -> float:
    metric.update(np.asarray(outputs), np.asarray(labels))
    return metric.result().value


def test_hit_rate_by_hand() -> None:
    # The positive item is second, first and fourth.
    assert value(HitRate(1), SCORES, [2, 0, 0]) == pytest.approx(1 / 3)
    assert value(HitRate(2), SCORES, [[2], [0], [0]]) == pytest.approx(2 / 3)
    metric = HitRate(2)
    metric.update(SCORES, np.array([2, 0, 0]))
    result = metric.result()
    assert (result.name, result.n, result.counts, result.is_share) == ("hr@2", 3, "users", True)
    np.testing.assert_allclose(result.interval, (0.2076596, 0.9385081), atol=1e-6)  # Wilson's, 2 of 3


def test_ndcg_by_hand() -> None:
    expected = [1 / np.log2(3), 1.0, 1 / np.log2(5)]
    assert value(NDCG(10), SCORES, [2, 0, 0]) == pytest.approx(np.mean(expected))
    assert value(NDCG(3), SCORES, [2, 0, 0]) == pytest.approx(np.mean([*expected[:2], 0]))


@given(seed=st.integers(0, 2**31), k=st.integers(1, 9), levels=st.integers(1, 20))
def test_ndcg_equals_scikit_learn(seed: int, k: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (6, 8)) / levels  # with ties
    relevance = rng.integers(0, 4, (6, 8))
    relevance[:, 0] += 1  # scikit-learn counts users without positive items as 0
    assert value(NDCG(k), scores, relevance) == pytest.approx(ndcg_score(relevance, scores, k=k), abs=1e-12)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 4))
def test_hit_rate_is_the_mean_over_all_orders_of_ties(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores, relevance = rng.integers(0, 3, 5), rng.integers(0, 2, 5)
    relevance[rng.integers(5)] = 1
    orders = [o for o in itertools.permutations(range(5)) if (np.diff(scores[list(o)]) <= 0).all()]
    expected = np.mean([relevance[list(order[:k])].any() for order in orders])
    assert value(HitRate(k), scores[None].astype(float), relevance[None]) == pytest.approx(expected)


def test_a_collapsed_model_is_not_right_everywhere() -> None:
    assert value(HitRate(10), np.zeros((5, 100)), np.zeros(5, int)) == pytest.approx(0.1)


@pytest.mark.parametrize("metric", [HitRate, NDCG])
def test_pairs_of_user_and_item_are_lists_in_disguise(metric: Any) -> None:
    rng = np.random.default_rng(0)
    scores, positions = rng.random((7, 12)), rng.integers(0, 12, 7)
    lists, pairs = metric(5), metric(5)
    lists.update(scores, positions)
    users = np.repeat(np.arange(7) + 100, 12)
    labels = np.stack([np.eye(12)[positions].ravel(), users], axis=1)
    order = rng.permutation(84)  # users may come in any order, over several batches
    for part in np.array_split(order, 5):
        pairs.update(scores.ravel()[part, None], labels[part])
    assert pairs.result().n == 7
    assert pairs.result().value == pytest.approx(lists.result().value, abs=1e-12)
    np.testing.assert_allclose(pairs.result().interval, lists.result().interval)


def test_lists_of_different_lengths() -> None:
    scores = np.array([3.0, 2, 1, 1, 2])
    labels = np.array([[0, 7], [1, 7], [0, 7], [1, 8], [0, 8]])
    metric = NDCG(3)
    metric.update(scores, labels)
    assert metric.result().value == pytest.approx(1 / np.log2(3))  # second in both


def test_users_without_positive_items_are_left_out() -> None:
    metric = NDCG(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(SCORES, np.array([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]))
    assert (metric.result().n, metric.result().value) == (2, 1.0)
    with pytest.raises(DataError, match=r"ndcg@2 has no value: the data set gave no users to measure it on"):
        value(NDCG(2), SCORES, np.zeros((3, 4)))


def test_nan_is_worth_nothing() -> None:
    scores = SCORES.copy()
    scores[1, 3] = np.nan
    assert value(HitRate(1), scores, [1, 0, 3]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3, 4)), [0, 0], r"needs scores \[users, items\], \[n\] or \[n, 1\].*float64\[2, 3, 4\]"),
        (np.zeros((2, 30)), [0, 30], "positions 0 to 29, and they run from 0 to 30"),
        (np.zeros((2, 30)), [0.0, 1.0], r"int\[2\], the position.*relevance \[2, 30\], and they are float64\[2\]"),
        (np.zeros((1, 30)), [[-1] * 30], "relevance of 0 or more, and the least is -1"),
        (np.zeros((2, 1)), [0, 1], r"needs to know whose each score is: labels \[2, 2\]"),
        (np.zeros((2, 10)), [0, 1], "hr@10 says nothing of lists of only 10 items"),
    ],
)
def test_what_does_not_fit(outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        value(HitRate(10), outputs, labels)
