"""What a metric is, and what it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Z95", "Against", "Metric", "MetricResult", "proportion", "require_some"]

Z95 = 1.959963984540054
"""The normal distribution's 97.5 % point: both tails of a 95 % interval."""

Against = Literal["labels", "reference", "reference or labels"]


@dataclass(frozen=True, slots=True)
class MetricResult:
    """A measured value.

    Attributes:
        name: of the metric.
        value: the value itself.
        n: over how many predictions.
        interval: the 95 % confidence interval of the value, for a sample drawn at random.
    """

    name: str
    value: float
    n: int
    interval: tuple[float, float]


class Metric(Protocol):
    """A value that is built up batch by batch."""

    @property
    def name(self) -> str:
        """The name under which it is asked for."""

    @property
    def against(self) -> Against:
        """What the outputs are compared with."""

    def update(self, outputs: Array, expected: Array) -> None:
        """Takes in one batch: a model's outputs, and the labels or another model's outputs."""

    def result(self) -> MetricResult:
        """The value over all batches so far."""


def proportion(name: str, hits: int, n: int) -> MetricResult:
    """A share of hits with Wilson's score interval, which stays inside 0..1 and holds for small samples.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA, 1927.

    Raises:
        DataError: nothing was counted.
    """
    require_some(name, n)
    share, z2 = hits / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == n else min(1.0, centre + half)
    return MetricResult(name, share, n, (low, high))


def require_some(name: str, n: int) -> None:
    """Raises `DataError` where a metric has seen no examples."""
    if n == 0:
        raise DataError(f"{name} has no value: the data set gave no examples")
