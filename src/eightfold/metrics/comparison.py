"""Two models on the same examples: is one better, or is that noise?"""

from __future__ import annotations

from dataclasses import dataclass

from eightfold.errors import DataError
from eightfold.metrics.interval import Interval
from eightfold.metrics.metric import Metric, MetricResult

__all__ = ["Comparison", "compare", "drop"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a metric says of two models on the same examples.

    Attributes:
        reference: of the one, usually the float model.
        candidate: of the other.
        interval: the 95 % confidence interval of the difference, candidate - reference, paired example by example.
    """

    reference: MetricResult
    candidate: MetricResult
    interval: Interval

    @property
    def difference(self) -> float:
        """Candidate - reference."""
        return self.candidate.value - self.reference.value

    @property
    def drop(self) -> float:
        """How much worse the candidate is; negative where it is better."""
        return drop(self.reference, self.candidate)

    @property
    def within_noise(self) -> bool:
        """Whether the examples cannot tell the two apart: the interval holds 0."""
        return self.interval[0] <= 0.0 <= self.interval[1]

    @property
    def verdict(self) -> str:
        """`within the noise`, `better` or `worse`."""
        if self.within_noise:
            return "within the noise"
        return "worse" if self.drop > 0 else "better"


def compare(reference: Metric, candidate: Metric) -> Comparison:
    """Compares two metrics of one kind that have seen two models' outputs for the same examples, in the same order.

    Raises:
        DataError: there was nothing to measure, or they are of two kinds or have not seen the same examples.
    """
    if reference.name != candidate.name:
        raise DataError(f"expected two metrics of one kind, received {reference.name} and {candidate.name}")
    first, second = reference.result(), candidate.result()
    return Comparison(first, second, candidate.sample().difference(reference.sample()))


def drop(reference: MetricResult, candidate: MetricResult) -> float:
    """How much worse the candidate is than the reference, in the metric's own unit; negative where it is better."""
    difference = reference.value - candidate.value
    return difference if reference.higher_is_better else -difference
