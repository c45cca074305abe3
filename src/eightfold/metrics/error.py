"""Metrics of numbers: how far from what was expected?"""

from __future__ import annotations

import math

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Z95, Against, MetricResult, require_some

__all__ = ["MeanSquaredError", "sqnr_db"]


class MeanSquaredError:
    """The squared difference from a reference model's outputs or from labels, averaged over all values.

    Mean and variance over examples are built up by the method of Chan, Golub and LeVeque, "Updating formulae
    and a pairwise algorithm for computing sample variances", 1979. The interval is the normal one.
    """

    against: Against = "reference or labels"
    name = "mse"

    def __init__(self) -> None:
        self._n = 0
        self._mean = 0.0
        self._squares = 0.0
        """The sum of squared distances from the mean."""

    def update(self, outputs: Array, expected: Array) -> None:
        """Takes in one batch of numbers [examples, ...].

        Raises:
            DataError: the two differ in shape.
        """
        expected = np.asarray(expected)
        if outputs.shape != expected.shape and _without_ones(outputs.shape) != _without_ones(expected.shape):
            shapes = f"{list(outputs.shape)} and {list(expected.shape)}"
            raise DataError(f"mse needs outputs and expected values of one shape, and they are {shapes}")
        n = len(outputs)
        if n == 0:
            return
        difference = outputs.astype(np.float64) - expected.reshape(outputs.shape).astype(np.float64)
        each = np.square(difference).reshape(n, -1).mean(axis=1)
        mean, total = float(each.mean()), self._n + n
        shift = mean - self._mean
        self._squares += float(np.square(each - mean).sum()) + shift * shift * self._n * n / total
        self._mean += shift * n / total
        self._n = total

    def result(self) -> MetricResult:
        """The mean over examples; with a single example the interval is unbounded."""
        require_some(self.name, self._n)
        if self._n == 1:
            return MetricResult(self.name, self._mean, 1, (0.0, math.inf))
        half = Z95 * math.sqrt(self._squares / (self._n - 1) / self._n)
        return MetricResult(self.name, self._mean, self._n, (max(0.0, self._mean - half), self._mean + half))


def sqnr_db(reference: Array, actual: Array) -> float:
    """The signal-to-quantization-noise ratio in decibels: 10 log10(sum r^2 / sum (r - a)^2).

    Infinite where both are equal; minus infinity where there is only noise, or `actual` is not finite.

    Raises:
        DataError: the arrays differ in shape.
    """
    if reference.shape != actual.shape:
        raise DataError(f"expected two arrays of one shape, received {list(reference.shape)} and {list(actual.shape)}")
    if not np.isfinite(actual).all():
        return -math.inf
    signal = float(np.square(reference.astype(np.float64)).sum())
    noise = float(np.square(reference.astype(np.float64) - actual.astype(np.float64)).sum())
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:1], *(d for d in shape[1:] if d != 1))
