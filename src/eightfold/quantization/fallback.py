"""Gives back to float what would be wrong or slower in 8 bits, and says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.plan import Plan, Step
from eightfold.quantization.report import Fidelity, Speed
from eightfold.quantization.result import Quantized
from eightfold.quantization.setting import Setting
from eightfold.quantization.verify import Verifier

__all__ = ["Candidate", "Fallback"]

_MOST_WRONG = 12
"""Steps given back one by one for being wrong; after these everything goes."""

_MARGIN = 0.97
"""A model is slower when it stays below this share of the float speed twice: single timings wobble by a few percent."""


@dataclass(frozen=True)
class Candidate:
    """A plan, the model it makes, and what was measured of it."""

    plan: Plan
    result: Quantized
    fidelity: Fidelity
    speed: Speed | None = None


@dataclass
class Fallback:
    """Turns a plan into the fastest model that is right; into the float model itself in the worst case.

    Attributes:
        setting: the plan, and what is needed to lower it.
        verifier: compares and times.
        told: what was given back, and why, in words.
    """

    setting: Setting
    verifier: Verifier

    def __post_init__(self) -> None:
        self.told: list[str] = []

    def right(self) -> Candidate:
        """Gives back the step that loses most of the signal until the outputs are close enough."""
        plan = self.setting.plan
        while True:
            candidate = self._made(plan)
            closeness = candidate.fidelity.sqnr_db
            good = math.isfinite(closeness) and closeness >= plan.recipe.min_sqnr_db
            if good or not plan.recipe.fallback or not plan.steps:
                return candidate
            names, what = self._culprits(candidate)
            reason = f"the outputs were {closeness:.1f} dB close with it, expected {plan.recipe.min_sqnr_db:g} dB"
            plan = plan.without(*names, reason=reason)
            self.told.append(f"{what} went back to float: {reason}")

    def fast(self, candidate: Candidate) -> Candidate:
        """Gives back the regions that cost more than they save, where the whole is not faster than float.

        Regions are ranked by how much they compute for each tensor that crosses their border. Ever more of the poorest
        are given back, half of what is left at a time, and the fastest of these models is kept.
        """
        candidate = self._timed(candidate)
        if not _slow(candidate) or not candidate.plan.recipe.fallback or not candidate.plan.steps:
            return candidate
        best, regions = candidate, sorted(candidate.plan.regions, key=_intensity)
        for count in _growing(len(regions)):
            reason = f"the model ran at {_speedup(candidate):.2f} times the float speed with it"
            names = [step.name for region in regions[:count] for step in region]
            trial = self._timed(self._made(candidate.plan.without(*names, reason=reason)))
            if _speedup(trial) > _speedup(best) or (count == len(regions) and _slow(best)):
                best = trial
        given = len(candidate.plan.steps) - len(best.plan.steps)
        if given:
            self.told.append(
                f"{given} of {len(candidate.plan.steps)} ops went back to float: "
                f"the model ran at {_speedup(candidate):.2f} times the float speed with them"
            )
        return best

    def _made(self, plan: Plan) -> Candidate:
        result = self.setting.lowered(plan)
        return Candidate(plan, result, self.verifier.fidelity(result.model))

    def _timed(self, candidate: Candidate) -> Candidate:
        """The candidate with its speed: the better of two measurements where the first is slower than float."""
        speed = self.verifier.speed(candidate.result.model)
        if speed.speedup < _MARGIN:
            again = self.verifier.speed(candidate.result.model)
            speed = max(speed, again, key=lambda measured: measured.speedup)
        return replace(candidate, speed=speed)

    def _culprits(self, candidate: Candidate) -> tuple[list[str], str]:
        worst: Step | None = None
        ranges = self.setting.ranges
        if ranges is not None and len(self.told) < _MOST_WRONG:
            encodings = choose_encodings(candidate.plan, ranges, offsets=candidate.plan.recipe.offsets)
            worst = self.verifier.worst_step(candidate.plan, candidate.result.model, encodings)
        if worst is None:
            return [step.name for step in candidate.plan.steps], "everything that was left"
        return [worst.name], worst.name


def _intensity(region: tuple[Step, ...]) -> float:
    """What a region computes against what it converts: weights for each tensor that crosses its border.

    Divided by the root of its length, so that of two alike the longer, which risks more, goes first.
    """
    inside = {step.match.root for step in region}
    border = {ref for step in region for ref, _ in step.reads if ref not in inside}
    weights = sum(step.match.value("filter").size for step in region if "filter" in step.match.refs)
    return float(weights / max(1, len(border)) / len(region) ** 0.5)


def _slow(candidate: Candidate) -> bool:
    return _speedup(candidate) < _MARGIN


def _speedup(candidate: Candidate) -> float:
    return candidate.speed.speedup if candidate.speed else 0.0


def _growing(total: int) -> list[int]:
    """How many regions to give back, one trial after the other: 1/2, 3/4, 7/8 ... of all, then all."""
    counts: list[int] = []
    left = total
    while left > 1 and len(counts) < 5:
        left //= 2
        counts.append(total - left)
    return [*counts, total] if total not in counts else counts
