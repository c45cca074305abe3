"""What a metric is, and what it gives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from eightfold.errors import DataError
from eightfold.metrics.interval import Interval
from eightfold.metrics.sample import Sample

__all__ = ["Against", "Metric", "MetricResult"]

Against = Literal["labels", "reference", "reference or labels"]


@dataclass(frozen=True, slots=True)
class MetricResult:
    """A measured value.

    Attributes:
        name: of the metric.
        value: the value itself.
        n: over how many predictions.
        interval: the 95 % confidence interval of the value, for a sample drawn at random.
        higher_is_better: whether a larger value is the better one.
        is_share: whether the value is a share of `n`, to be read in percent.
        counts: what `n` counts, in the plural.
        note: what looks wrong, for people to read.
    """

    name: str
    value: float
    n: int
    interval: Interval
    higher_is_better: bool = True
    is_share: bool = False
    counts: str = "examples"
    note: str = ""


class Metric(Protocol):
    """A value that is built up batch by batch. A metric of one's own inherits what it does not say.

    Attributes:
        name: under which it is asked for.
        against: what the outputs are compared with.
        higher_is_better: whether a larger value is the better one.
        all_outputs: whether `update` gets all outputs of the model by name, not one of them.
        is_share, counts: see `MetricResult`.
    """

    name: str
    against: Against = "labels"
    higher_is_better: bool = True
    all_outputs: bool = False
    is_share: bool = False
    counts: str = "examples"

    @abstractmethod
    def update(self, outputs: Any, expected: Any) -> None:
        """Takes in one batch: a model's output, and the labels or another model's output.

        With `all_outputs`, outputs are a mapping of names to arrays.
        """

    @abstractmethod
    def sample(self) -> Sample:
        """What was seen so far, example by example."""

    def result(self) -> MetricResult:
        """The value over all batches so far.

        Raises:
            DataError: there was nothing to measure.
        """
        seen = self.sample()
        if seen.n == 0:
            raise DataError(f"{self.name} has no value: the data set gave no {self.counts} to measure it on")
        return MetricResult(
            self.name, seen.value(), seen.n, seen.interval(), self.higher_is_better, self.is_share, self.counts
        )
