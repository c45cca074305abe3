"""Metrics of recommenders: how near the top of a user's list are the items that the user took?

Two layouts are understood:

    lists       scores [users, items]; labels [users] with the position of the one positive item in the list, or
                [users, items] with the relevance of each, 0 or more
    point-wise  scores [n] or [n, 1]; labels [n, 2] with the relevance and the user of each example. A user's
                examples may lie in several batches

Users without a positive item are left out. Equal scores, which 8-bit codes often are, stand in no order: the value
is the expected one over all orders of them (F. McSherry and M. Najork, "Computing information retrieval performance
measures efficiently in the presence of tied scores", ECIR 2008). A list with NaN is worth 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Metric
from eightfold.metrics.pointwise import Scored, is_pointwise, joined, scored
from eightfold.metrics.sample import Mean, Share

__all__ = ["NDCG", "HitRate", "ListMetric"]


class ListMetric(Metric):
    """The mean of a value of each user's list, 0..1; see the layouts above."""

    counts = "users"

    def __init__(self, name: str) -> None:
        self.name = name
        self._lists = self._nothing()
        self._pairs: list[Scored] = []

    @abstractmethod
    def values(self, scores: Array, relevance: Array) -> Array:
        """Of each list, float64[users]; both are float64[users, items], and each list has a positive item."""

    def update(self, outputs: Array, expected: Array) -> None:
        """Takes in one batch.

        Raises:
            DataError: the outputs are no scores, or the labels do not fit them.
        """
        labels = np.asarray(expected)
        if outputs.dtype.kind not in "fiu" or outputs.ndim > 2 or outputs.ndim == 0:
            received = f"{outputs.dtype}{list(outputs.shape)}"
            raise DataError(f"{self.name} needs scores [users, items], [n] or [n, 1], and the model gives {received}")
        if not is_pointwise(outputs):
            self._add(self._lists, outputs.astype(np.float64), _relevance(labels, outputs.shape, self.name))
            return
        batch = scored(outputs, labels, self.name)
        if batch.groups is None:
            raise DataError(
                f"{self.name} needs to know whose each score is: labels [{len(outputs)}, 2] of relevance and user, "
                f"and they are {list(labels.shape)}"
            )
        self._pairs.append(batch)

    def sample(self) -> Mean:
        """The value of each user with a positive item."""
        if not self._pairs:
            return self._lists
        seen = self._nothing()
        for scores, relevance in _by_user(joined(self._pairs)):
            self._add(seen, scores, relevance)
        return seen

    def _nothing(self) -> Mean:
        return Share() if self.is_share else Mean(0.0, 1.0)

    def _add(self, seen: Mean, scores: Array, relevance: Array) -> None:
        has_positive = (relevance > 0).any(axis=1)
        scores, relevance = scores[has_positive], relevance[has_positive]
        if len(scores):
            valid = ~np.isnan(scores).any(axis=1)
            seen.add(np.where(valid, self.values(np.nan_to_num(scores, posinf=np.inf, neginf=-np.inf), relevance), 0.0))


class HitRate(ListMetric):
    """HR@k: the share of users for whom a positive item is among the first `k`.

    Source: X. He et al., "Neural collaborative filtering", WWW 2017, where each user has one positive item among 100.
    """

    is_share = True

    def __init__(self, k: int) -> None:
        super().__init__(f"hr@{k}")
        self._k = k

    def values(self, scores: Array, relevance: Array) -> Array:
        """The probability of a hit, which is 0 or 1 but for ties across the border.

        Raises:
            DataError: the lists have no more than `k` items, so everything would be a hit.
        """
        if scores.shape[1] <= self._k:
            raise DataError(f"{self.name} says nothing of lists of only {scores.shape[1]} items")
        best = np.where(relevance > 0, scores, -np.inf).max(axis=1, keepdims=True)
        tied = scores == best
        places = self._k - np.count_nonzero(scores > best, axis=1)
        positive = np.count_nonzero(tied & (relevance > 0), axis=1)
        counts = zip(places.tolist(), np.count_nonzero(tied, axis=1).tolist(), positive.tolist(), strict=True)
        return np.array([_chance(*count) for count in counts])


def _chance(places: int, tied: int, positive: int) -> float:
    """That of `tied` items in random order, of which some are positive, a positive one is in the first places."""
    if places <= 0 or places >= tied:
        return float(places > 0)
    return 1.0 - math.comb(tied - positive, places) / math.comb(tied, places)


class NDCG(ListMetric):
    """NDCG@k: the relevance of the first `k` items, each divided by log2(1 + place), over the best that could be.

    Source: K. Jarvelin and J. Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20, 2002. The
    gain is the relevance itself, not 2^relevance - 1; of 0 and 1 both are the same.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"ndcg@{k}")
        self._k = k

    def values(self, scores: Array, relevance: Array) -> Array:
        """DCG / ideal DCG."""
        items = scores.shape[1]
        discounts = np.where(np.arange(items) < self._k, 1 / np.log2(np.arange(items) + 2), 0.0)
        order = np.argsort(-scores, axis=1, kind="stable")
        gains = np.take_along_axis(relevance, order, axis=1)
        mean_discounts = _tied_means(np.take_along_axis(scores, order, axis=1), discounts)
        ideal = -np.sort(-relevance, axis=1) @ discounts
        ratio: Array = (gains * mean_discounts).sum(axis=1) / ideal
        return ratio


def _tied_means(ordered: Array, discounts: Array) -> Array:
    """The mean discount of the block of equal scores that each place is in; scores are [users, items], descending."""
    places = np.arange(ordered.shape[1])
    changes = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(ordered), 1), bool)
    start = np.maximum.accumulate(np.where(np.hstack([edge, changes]), places, 0), axis=1)
    last = np.where(np.hstack([changes, edge]), places + 1, len(places))
    stop = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    sums = np.concatenate([[0.0], np.cumsum(discounts)])
    means: Array = (sums[stop] - sums[start]) / (stop - start)
    return means


def _relevance(labels: Array, shape: tuple[int, ...], name: str) -> Array:
    """The labels as relevance float64[users, items]."""
    users, items = shape
    if labels.shape == shape and labels.dtype.kind in "biuf":
        relevance = labels.astype(np.float64)
        if not (relevance >= 0).all():
            raise DataError(f"{name} needs relevance of 0 or more, and the least is {relevance.min()}")
        return relevance
    positions = labels.reshape(users) if labels.shape in ((users,), (users, 1)) else None
    if positions is None or positions.dtype.kind not in "iu":
        received = f"{labels.dtype}{list(labels.shape)}"
        raise DataError(
            f"{name} needs labels int[{users}], the position of the positive item, or relevance [{users}, {items}], "
            f"and they are {received}"
        )
    if users and (positions.min() < 0 or positions.max() >= items):
        raise DataError(
            f"{name} needs positions 0 to {items - 1}, and they run from {positions.min()} to {positions.max()}"
        )
    return np.eye(items)[positions]


def _by_user(pairs: Scored) -> Iterator[tuple[Array, Array]]:
    """Scores and relevance as lists, [users, items] each, for all users with equally many items at once."""
    if pairs.groups is None:  # update has refused it
        raise DataError("the scores have no users")
    order = np.argsort(pairs.groups, kind="stable")
    _, starts, counts = np.unique(pairs.groups[order], return_index=True, return_counts=True)
    for count in np.unique(counts):
        chosen = order[starts[counts == count][:, None] + np.arange(count)]
        yield pairs.scores[chosen], pairs.relevance[chosen]
