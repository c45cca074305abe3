"""Who leads: effects of candidates, freed of the drift of the machine, from rounds with gaps and outliers.

A turn of candidate c in round r gives the worth x = a(c) + b(r) + noise: what the candidate can do, what the machine
does at that time, and what disturbed this one turn. Both effects are found by medians in turns (median polish: Tukey,
"Exploratory Data Analysis", 1977, chapter 11), since disturbances are rare and large. Rounds share candidates, so
candidates that never met are compared over those that both have met.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eightfold.tuning.candidate import Aim, Candidate, Sample

__all__ = ["Ranking", "Standing"]

EXPECTED_NOISE = 0.02
"""Of one turn, as a share: what short turns on a quiet machine scatter by. It counts as much as `PRIOR_TURNS` turns."""
PRIOR_TURNS = 8
LEAST_NOISE = 0.004
SWEEPS = 8
MEDIAN_ERROR = 1.25
"""The standard error of a median over that of a mean, for normal noise."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The effects at some time.

    Attributes:
        worth: of each candidate, as a logarithm; only differences mean anything.
        turns: how many each candidate had.
        noise: of one turn, as a standard deviation of the logarithm.
    """

    worth: Mapping[Candidate, float]
    turns: Mapping[Candidate, int]
    noise: float

    def error(self, candidate: Candidate) -> float:
        """The standard error of a candidate's worth."""
        return MEDIAN_ERROR * self.noise / math.sqrt(self.turns[candidate])

    def doubt(self, one: Candidate, other: Candidate) -> float:
        """How far the difference of two may be off: two standard errors."""
        return 2 * math.hypot(self.error(one), self.error(other))

    def in_order(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The best first."""
        return sorted(candidates, key=lambda one: -self.worth[one])


class Standing:
    """All turns of a search.

    Args:
        aim: what is wanted.
    """

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self.samples: dict[Candidate, dict[int, Sample]] = {}

    def add(self, number: int, candidate: Candidate, sample: Sample) -> None:
        """Takes in the turn of a candidate in a round."""
        self.samples.setdefault(candidate, {})[number] = sample

    def excess(self, candidate: Candidate) -> float:
        """How many times as long as allowed its batches take: the median of its turns."""
        return statistics.median(self.aim.excess(sample) for sample in self.samples[candidate].values())

    def ranking(self, since: int = 0) -> Ranking:
        """The effects that fit the turns from a round on."""
        worth = self.aim.worth
        cells = {c: {r: worth(s) for r, s in own.items() if r >= since} for c, own in self.samples.items()}
        return _fitted({candidate: own for candidate, own in cells.items() if own})


def _fitted(cells: Mapping[Candidate, Mapping[int, float]]) -> Ranking:
    worth = {candidate: _centre(list(own.values())) for candidate, own in cells.items()}
    drift: dict[int, float] = {}
    for _ in range(SWEEPS):
        drift = _drift(cells, worth)
        worth = {c: _centre([x - drift[r] for r, x in own.items()]) for c, own in cells.items()}
    return Ranking(worth, {c: len(own) for c, own in cells.items()}, _noise(cells))


def _drift(cells: Mapping[Candidate, Mapping[int, float]], worth: Mapping[Candidate, float]) -> dict[int, float]:
    """What the machine did in each round: the median over the candidates that it met."""
    found: dict[int, list[float]] = {}
    for candidate, own in cells.items():
        for number, x in own.items():
            found.setdefault(number, []).append(x - worth[candidate])
    return {number: _centre(values) for number, values in found.items()}


def _centre(values: Sequence[float]) -> float:
    """The median, of an even number the upper one: what disturbs a turn makes it slower, hardly ever faster."""
    return sorted(values)[len(values) // 2]


def _noise(cells: Mapping[Candidate, Mapping[int, float]]) -> float:
    """The noise of one turn, from differences inside rounds to the candidate that had the most turns.

    What is left over by the fit would be too little: medians go through many of the turns exactly.
    """
    most = max(cells.values(), key=len)
    off: list[float] = []
    for own in cells.values():
        differences = [x - most[number] for number, x in own.items() if number in most]
        if own is not most and len(differences) > 2:
            centre = statistics.median(differences)
            off += sorted(abs(difference - centre) for difference in differences)[1:]  # the first made the median
    seen = 1.4826 * statistics.median(off) / math.sqrt(2) if off else EXPECTED_NOISE
    return max(LEAST_NOISE, (PRIOR_TURNS * EXPECTED_NOISE + len(off) * seen) / (PRIOR_TURNS + len(off)))
