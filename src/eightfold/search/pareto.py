"""Accuracy against speed: which trials are worth having, and which one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eightfold.bench.frontier import frontier as front
from eightfold.quantization.search_record import Trial

__all__ = ["best_of", "frontier", "holds"]


def holds(trial: Trial, max_drop: float) -> bool:
    """Whether a trial loses no more than allowed; a hair of float rounding is forgiven."""
    return trial.drop <= max_drop + 1e-9


def frontier(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that no other beats in both accuracy and speed; fastest first."""
    return front(trials, lambda trial: trial.speedup, lambda trial: trial.value)


def best_of(trials: Sequence[Trial], max_drop: float) -> Trial | None:
    """The fastest of the trials that hold the target; where none does, the most accurate. `None` of no trials."""
    holding = [trial for trial in trials if holds(trial, max_drop)]
    if holding:
        return max(holding, key=lambda t: (t.speedup, t.value))
    return max(trials, key=lambda t: (t.value, t.sqnr_db, t.speedup), default=None)
