"""Metrics of numbers: how far from what was expected?"""

from __future__ import annotations

import math

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Against, Metric
from eightfold.metrics.sample import Mean

__all__ = ["MeanSquaredError", "sqnr_db"]


class MeanSquaredError(Metric):
    """The squared difference from a reference model's outputs or from labels, averaged over all values."""

    name = "mse"
    against: Against = "reference or labels"
    higher_is_better = False

    def __init__(self) -> None:
        self._seen = Mean(low=0.0)

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
        if n:
            difference = outputs.astype(np.float64) - expected.reshape(outputs.shape).astype(np.float64)
            self._seen.add(np.square(difference).reshape(n, -1).mean(axis=1))

    def sample(self) -> Mean:
        """The mean squared difference of each example."""
        return self._seen


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
