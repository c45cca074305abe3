"""Statistics of run times: medians and percentiles, and ratios paired round by round.

Times on a shared machine drift, so nothing here averages over drift: a model's figure is the median of all
its runs, and a ratio between two models is taken inside each round, where both met the same machine, before
the median over rounds is formed: a paired comparison (Box, Hunter and Hunter, "Statistics for Experimenters",
2nd ed. 2005, chapter 3), with medians in place of means.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "Rounds", "Timing", "percentile", "speedup", "timing"]

Rounds = Sequence[Sequence[float]]
"""Run times in seconds: one sequence for each round, in the order of the rounds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one run takes, in milliseconds.

    `spread` is the distance between the largest and the smallest median of a round, as a share of the median.
    """

    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    spread: float
    runs: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster than the first model: median over rounds, lowest and highest round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated linearly between the two nearest.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("a percentile of no values was asked for; expected at least one")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def timing(rounds: Rounds) -> Timing:
    """Sums up the run times of one model.

    Raises:
        ValueError: no rounds, or a round without runs.
    """
    runs = [seconds * 1e3 for one in rounds for seconds in one]
    medians = [statistics.median(one) * 1e3 for one in rounds]
    median = statistics.median(runs)
    return Timing(
        median_ms=median,
        p90_ms=percentile(runs, 90),
        p99_ms=percentile(runs, 99),
        min_ms=min(runs),
        spread=(max(medians) - min(medians)) / median,
        runs=len(runs),
        rounds=len(medians),
    )


def speedup(first: Sequence[float], other: Sequence[float]) -> Ratio:
    """How many times faster `other` is than `first`, each of its rounds against the same round of `first`.

    Args:
        first: the speed in each round, in images per second.
        other: that of what is compared with it.

    Raises:
        ValueError: the numbers of rounds differ.
    """
    ratios = [own / reference for reference, own in zip(first, other, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))
