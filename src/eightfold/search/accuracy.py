"""The search: the fastest model whose metric drops no more than allowed.

1. Choices for the whole model (observers, bias correction, equalization, rounding), one on top of the other. All of
   them are equally fast, so the first that holds ends the search.
2. Steps are ranked by the error that they make in the outputs for each millisecond that it costs to give them back.
   1, 2, 4, 8 ... of them go back to float until the metric holds; the smallest number that does is found by bisection.
3. Each of these is taken into 8 bits again, the costliest first, where the metric holds without it.
4. What is left in float is computed in bfloat16 instead, where that is faster and holds.
5. The fastest of the candidates that hold are timed once more, in turns with the float model.

A model with nothing in 8 bits is no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eightfold.bench.budget import BudgetSpent
from eightfold.graph.model import Model
from eightfold.quantization.export import Progress
from eightfold.quantization.search_record import Sensitivity, Trial
from eightfold.quantization.setting import Setting
from eightfold.search.candidates import Candidates, Choice
from eightfold.search.pareto import best_of, holds
from eightfold.search.variants import variants
from eightfold.system.instructions import has_bfloat16

__all__ = ["Search", "by_error_per_cost"]

_FINALISTS = 3
_CHEAPEST = 0.1
"""Of the mean cost: what costs less, or nothing, is taken to cost so much; single costs are small and noisy."""


class Search:
    """One search, which can be broken off at any time.

    Args:
        candidates: makes and measures.
        max_drop: how much less than the float model's the metric may be.
        rank: ranks the steps of a setting.
        progress: told the number of trials.
    """

    def __init__(
        self,
        candidates: Candidates,
        max_drop: float,
        rank: Callable[[Setting], list[Sensitivity]],
        progress: Progress,
    ) -> None:
        self._candidates, self._max_drop, self._rank, self._tell = candidates, max_drop, rank, progress
        self.ranking: list[Sensitivity] = []
        self.ended = "done"

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.ended == "interrupted"

    @property
    def chosen(self) -> Trial:
        """The best trial so far."""
        assert self._best is not None, "a search ends with at least one candidate"
        return self._best

    @property
    def _best(self) -> Trial | None:
        return best_of(list(self._candidates.trials.values()), self._max_drop)

    def run(self, source: Model) -> None:
        """Searches until the target is held, nothing is left to try, the budget is spent, or Ctrl-C is pressed.

        Args:
            source: the float model.
        """
        try:
            self._explore(source)
            self._time_finalists()
        except BudgetSpent:
            self.ended = "budget"
        except KeyboardInterrupt:
            if self._best is None:
                raise  # there is nothing to hand over
            self.ended = "interrupted"

    def _explore(self, source: Model) -> None:
        best = self._try(Choice({}))
        for change in variants(self._candidates.recipe({}), source):
            if self._holds(best):
                return
            trial = self._try(Choice({**best.changes, **change}))
            best = self._better(best, trial)
        if self._holds(best):
            return
        self.ranking = self._candidates.ranking(best.changes, self._rank)
        given = self._grown(best.changes, [entry.name for entry in by_error_per_cost(self.ranking)])
        if given:
            self._narrowed(best.changes, self._taken_back(best.changes, given))

    def _better(self, one: Trial, other: Trial) -> Trial:
        """The more promising of two: by the metric, or by closeness where the metric hardly tells them apart."""
        if abs(one.value - other.value) <= self._max_drop:
            return max(one, other, key=lambda trial: trial.sqnr_db)
        return max(one, other, key=lambda trial: trial.value)

    def _grown(self, changes: Mapping[str, Any], names: Sequence[str]) -> list[str]:
        """The fewest of the names, from the first on, with which the metric holds; none where it never does."""
        failing, count = 0, 1
        while count < len(names):
            if self._holds(self._try(Choice(changes, tuple(names[:count])))):
                break
            failing, count = count, min(2 * count, len(names) - 1) if count < len(names) - 1 else len(names)
        else:
            return []
        while count - failing > 1:
            middle = (failing + count) // 2
            if self._holds(self._try(Choice(changes, tuple(names[:middle])))):
                count = middle
            else:
                failing = middle
        return list(names[:count])

    def _taken_back(self, changes: Mapping[str, Any], given: list[str]) -> tuple[str, ...]:
        """Those of the names without which the metric does not hold."""
        cost = {entry.name: entry.cost_ms for entry in self.ranking}
        left = list(given)
        for name in sorted(given, key=lambda name: -cost[name]):
            fewer = [other for other in left if other != name]
            if fewer and self._holds(self._try(Choice(changes, tuple(fewer)))):
                left = fewer
        return tuple(left)

    def _narrowed(self, changes: Mapping[str, Any], given: tuple[str, ...]) -> None:
        """Tries bfloat16 for all that was given back, then for the half that makes less error."""
        if not has_bfloat16():
            return
        error = {entry.name: entry.error for entry in self.ranking}
        names = sorted(given, key=lambda name: error[name])
        while names:
            rest = tuple(name for name in given if name not in names)
            if self._holds(self._try(Choice(changes, rest, tuple(names)))):
                return
            names = names[: len(names) // 2]

    def _time_finalists(self) -> None:
        trials = self._candidates.trials.values()
        holding = [trial for trial in trials if self._holds(trial)]
        for trial in sorted(holding, key=lambda t: -t.speedup)[:_FINALISTS]:
            self._candidates.timed(trial)

    def _try(self, choice: Choice) -> Trial:
        trial = self._candidates.trial(choice)
        self._tell("search", len(self._candidates.trials), None)
        return trial

    def _holds(self, trial: Trial) -> bool:
        return holds(trial, self._max_drop)


def by_error_per_cost(ranking: Sequence[Sensitivity]) -> list[Sensitivity]:
    """Steps by their error for each millisecond that giving them back costs, the most first."""
    least = max(_CHEAPEST * sum(abs(entry.cost_ms) for entry in ranking) / max(len(ranking), 1), 1e-6)
    return sorted(ranking, key=lambda entry: -entry.error / max(entry.cost_ms, least))
