"""The area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.interval import Interval, around
from eightfold.metrics.metric import Metric
from eightfold.metrics.pointwise import Scored, is_pointwise, joined, scored
from eightfold.metrics.sample import Sample

__all__ = ["AUC"]


class AUC(Metric):
    """The probability that a positive example has a higher score than a negative one; equal scores count half.

    Outputs are scores [n] or [n, 1], or [n, 2] of the negative and the positive class, whose difference is taken.
    Labels are 0 or 1, [n] or [n, 1]; for [n, 2] outputs also one-hot; for others also [n, 2] of label and group, the
    group being ignored: all users' examples are ranked together. NaN is ranked on the wrong side.

    Source: J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating characteristic
    (ROC) curve", Radiology 143, 1982.
    """

    name = "auc"

    def __init__(self) -> None:
        self._parts: list[Scored] = []

    def update(self, outputs: Array, expected: Array) -> None:
        """Takes in one batch.

        Raises:
            DataError: the outputs are no scores of two classes, or the labels are not 0 and 1.
        """
        labels = np.asarray(expected)
        two = outputs.ndim == 2 and outputs.shape[1] == 2
        if outputs.dtype.kind not in "fiu" or not (two or is_pointwise(outputs)):
            received = f"{outputs.dtype}{list(outputs.shape)}"
            raise DataError(f"auc needs scores [n], [n, 1], or [n, 2] of two classes, and the model gives {received}")
        if two and labels.shape == outputs.shape:
            labels = labels.argmax(axis=1)
        scores = outputs[:, 1].astype(np.float64) - outputs[:, 0] if two else outputs
        batch = scored(scores, labels, self.name)
        if not np.isin(batch.relevance, (0, 1)).all():
            received = f"{batch.relevance.min():g} to {batch.relevance.max():g}"
            raise DataError(f"auc needs labels that are 0 or 1, and they run from {received}")
        self._parts.append(batch)

    def sample(self) -> RankSum:
        """The scores of both kinds of examples.

        Raises:
            DataError: all examples are of one kind.
        """
        if not self._parts:
            return RankSum(np.empty(0), np.empty(0, bool))
        seen = joined(self._parts)
        positive = seen.relevance == 1
        if len(positive) and positive.all() == positive.any():
            raise DataError(f"auc needs positive and negative examples, and all {len(positive)} are of one kind")
        wrong_side = np.where(positive, -np.inf, np.inf)
        return RankSum(np.where(np.isnan(seen.scores), wrong_side, seen.scores), positive)


class RankSum:
    """Scores of positive and negative examples, ranked together.

    The intervals, of one area and of the difference of two on the same examples, follow from the variance of what
    each example contributes.

    Source: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach", Biometrics 44, 1988; by ranks as in X. Sun and
    W. Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters 21, 2014.
    """

    def __init__(self, scores: Array, positive: Array) -> None:
        self._positive = positive
        self._components = _components(scores[positive], scores[~positive]) if len(scores) else None

    @property
    def n(self) -> int:
        """How many examples."""
        return len(self._positive)

    def value(self) -> float:
        """The area."""
        return float(self._both()[0].mean())

    def interval(self) -> Interval:
        """Normal, cut to 0..1; all of it for a single example of a kind."""
        of_positive, of_negative = self._both()
        return around(self.value(), _error(of_positive, of_negative), 0.0, 1.0)

    def difference(self, reference: Sample) -> Interval:
        """Normal, from the correlated contributions.

        Raises:
            DataError: the two have not seen the same examples.
        """
        if not isinstance(reference, RankSum) or not np.array_equal(reference._positive, self._positive):
            raise DataError(
                f"two models can only be compared on the same examples; one has {self.n} and the other {reference.n}"
            )
        pairs = zip(self._both(), reference._both(), strict=True)
        error = _error(*(ours - theirs for ours, theirs in pairs))
        return around(self.value() - reference.value(), error, -1.0, 1.0)

    def _both(self) -> tuple[Array, Array]:
        if self._components is None:
            raise DataError("auc has no value: there are no examples")
        return self._components


def _components(positive: Array, negative: Array) -> tuple[Array, Array]:
    """For each positive and each negative example: the share of the other kind that it stands on the right side of."""
    m, n = len(positive), len(negative)
    ranks = _midranks(np.concatenate([positive, negative]))
    return (ranks[:m] - _midranks(positive)) / n, 1.0 - (ranks[m:] - _midranks(negative)) / m


def _midranks(values: Array) -> Array:
    """The rank of each value from 1; equal ones share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _error(positive: Array, negative: Array) -> float:
    if min(len(positive), len(negative)) < 2:
        return math.inf
    return math.sqrt(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
