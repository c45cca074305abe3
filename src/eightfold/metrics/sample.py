"""What a metric has seen, example by example: enough to say how sure it is, and to pair it with another model's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.interval import Interval, around, newcombe, resamples, standard_error, wilson

__all__ = ["Mean", "Resampled", "Sample", "Share"]


class Sample(Protocol):
    """A value over independent examples, and its 95 % confidence intervals."""

    @property
    def n(self) -> int:
        """Over how many predictions; 0 where nothing was seen."""

    def value(self) -> float:
        """The value over all of them."""

    def interval(self) -> Interval:
        """Of the value, for examples drawn at random."""

    def difference(self, reference: Sample) -> Interval:
        """Of this value minus that of another model on the same examples, paired."""


class Mean:
    """The mean over predictions, of which an example may have several: sum of totals / sum of counts.

    The examples are taken as independent, the predictions of one example are not: the variance of the ratio is that
    of its linear part (W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, section 6.3). With one prediction an
    example that is the normal interval of a mean.

    Args:
        low, high: what the value can be; the interval is cut to it.
    """

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        self._low, self._high = low, high
        self._totals: list[Array] = []
        self._counts: list[Array] = []

    def add(self, totals: Array, counts: Array | int = 1) -> None:
        """Takes in examples: the sum over the predictions of each, float[n], and how many they are, int[n] or one."""
        self._totals.append(np.asarray(totals))
        self._counts.append(np.broadcast_to(np.asarray(counts, np.int64), totals.shape))

    @property
    def n(self) -> int:
        """How many predictions."""
        return sum(int(counts.sum()) for counts in self._counts)

    @property
    def totals(self) -> Array:
        """The sum of each example, [n]."""
        return np.concatenate(self._totals)

    @property
    def counts(self) -> Array:
        """How many predictions each example has, int64[n]."""
        return np.concatenate(self._counts)

    def value(self) -> float:
        """The mean over predictions."""
        return float(self.totals.sum(dtype=np.float64) / self.n)

    def interval(self) -> Interval:
        """Normal; unbounded for a single example."""
        return around(self.value(), standard_error(self._deviations()), self._low, self._high)

    def difference(self, reference: Sample) -> Interval:
        """Normal, from the differences example by example.

        Raises:
            DataError: the two have not seen the same examples.
        """
        other = self._paired(reference)
        error = standard_error(self._deviations() - other._deviations())
        span = self._high - self._low
        return around(self.value() - other.value(), error, -span, span)

    def _deviations(self) -> Array:
        """How far each example takes the value from what it is, times the number of examples."""
        counts = self.counts
        deviations: Array = (self.totals - self.value() * counts) / counts.mean()
        return deviations

    def _paired(self, reference: Sample) -> Mean:
        if not isinstance(reference, Mean) or not np.array_equal(reference.counts, self.counts):
            raise DataError(
                f"two models can only be compared on the same examples; one has {self.n} predictions and the other "
                f"{reference.n}"
            )
        return reference


class Share(Mean):
    """The share of predictions that are hits, 0..1.

    Where each example has one prediction, a hit or not, the interval is Wilson's, and that of a difference Newcombe's.
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0)

    def interval(self) -> Interval:
        """Wilson's, or that of `Mean`."""
        return wilson(int(self.totals.sum()), self.n) if self._is_binary() else super().interval()

    def difference(self, reference: Sample) -> Interval:
        """Newcombe's, or that of `Mean`.

        Raises:
            DataError: the two have not seen the same examples.
        """
        if not self._is_binary() or not (isinstance(reference, Share) and reference._is_binary()):
            return super().difference(reference)
        ours, theirs = self.totals > 0, self._paired(reference).totals > 0
        pairs = (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
        return newcombe(*(int(np.count_nonzero(pair)) for pair in pairs))

    def _is_binary(self) -> bool:
        return bool((self.counts == 1).all() and np.isin(self.totals, (0, 1)).all())


class Resampled(ABC):
    """A value between 0 and 1 without a formula for its interval: the standard error is the bootstrap's."""

    def __init__(self) -> None:
        self._drawn: Array | None = None

    @property
    @abstractmethod
    def n(self) -> int:
        """How many examples."""

    @abstractmethod
    def weighted(self, weights: Array) -> float:
        """The value where example i occurs `weights[i]` times, int64[n]; NaN where it has none."""

    def value(self) -> float:
        """The value over all examples."""
        return self.weighted(np.ones(self.n, np.int64))

    def interval(self) -> Interval:
        """Normal, with the standard error of the bootstrap over examples."""
        return around(self.value(), _spread(self._bootstrapped()), 0.0, 1.0)

    def difference(self, reference: Sample) -> Interval:
        """Normal, with the standard error of the differences on the same bootstrap samples.

        Raises:
            DataError: the two have not seen the same examples.
        """
        if not isinstance(reference, Resampled) or reference.n != self.n:
            raise DataError(
                f"two models can only be compared on the same examples; one has {self.n} and the other {reference.n}"
            )
        error = _spread(self._bootstrapped() - reference._bootstrapped())
        return around(self.value() - reference.value(), error, -1.0, 1.0)

    def _bootstrapped(self) -> Array:
        if self._drawn is None:
            self._drawn = np.array([self.weighted(weights) for weights in resamples(self.n)])
        return self._drawn


def _spread(values: Array) -> float:
    """The standard deviation of what is a number; infinite where that is at most one value."""
    valid = values[np.isfinite(values)]
    return float(valid.std(ddof=1)) if len(valid) > 1 else math.inf
