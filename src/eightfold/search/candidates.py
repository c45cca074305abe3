"""Makes candidates and measures each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from eightfold.bench.budget import Budget
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.search_record import Sensitivity, Trial
from eightfold.quantization.setting import Setting
from eightfold.quantization.verify import Verifier
from eightfold.search.digest import Digests, combined
from eightfold.search.judge import Judge
from eightfold.search.trials import TrialLog

__all__ = ["Candidates", "Choice", "digest_of_ranges"]

_ROUNDS = 3
"""Of timing for a trial; what may be chosen is timed again."""


@dataclass(frozen=True)
class Choice:
    """What a candidate is made of.

    Attributes:
        changes: keys of the recipe that differ from what was asked for.
        fp32, bf16: the steps given back.
    """

    changes: Mapping[str, Any]
    fp32: tuple[str, ...] = ()
    bf16: tuple[str, ...] = ()

    @classmethod
    def of(cls, trial: Trial) -> Choice:
        return cls(trial.changes, trial.fp32, trial.bf16)


class Candidates:
    """Measures candidates; what the log has is not measured again.

    Args:
        identity: identifies the float model, the calibration data and what is judged on.
        float_value: the float model's metric.
        recipe: what the user asked for.
        start: the setting of that recipe.
        settle: makes the setting of a recipe.
        judge: gives the metric.
        verifier: gives closeness and speed.
        log: has what was measured before, and takes what is measured now.
        budget: checked before each measurement.
    """

    def __init__(
        self,
        identity: str,
        float_value: float,
        recipe: Recipe,
        start: Setting,
        settle: Callable[[Recipe], Setting],
        judge: Judge,
        verifier: Verifier,
        log: TrialLog,
        budget: Budget,
    ) -> None:
        self.judge, self.verifier, self.log, self.budget = judge, verifier, log, budget
        self._identity, self._recipe, self._settle = identity, recipe, settle
        self._settings = {recipe.to_toml(): start}
        self._measured: dict[str, tuple[float, float, float]] = {}
        self._digests = Digests()
        self.float_value = float_value
        self.trials: dict[str, Trial] = {}

    def recipe(self, changes: Mapping[str, Any]) -> Recipe:
        """What was asked for, with changes."""
        return replace(self._recipe, **changes)

    def setting(self, changes: Mapping[str, Any]) -> Setting:
        """The setting of a changed recipe."""
        key = self.recipe(changes).to_toml()
        if key not in self._settings:
            self._settings[key] = self._settle(self.recipe(changes))
        return self._settings[key]

    def trial(self, choice: Choice) -> Trial:
        """Measures a candidate."""
        recipe = self.recipe(choice.changes).to_toml()
        return self._recorded(choice, combined(self._identity, recipe, choice), lambda: self.built(choice))

    def remade(self, trial: Trial, result: Quantized) -> tuple[Trial, Quantized]:
        """A candidate made anew from the recipe that says what it gives back; measured again where it differs."""
        recipe = result.plan.settled_recipe
        made = self._settle(recipe).lowered()
        if self._digests.of_model(made.model) == self._digests.of_model(result.model):
            return trial, made
        key = combined(self._identity, recipe.to_toml())
        self.budget = Budget()  # what is handed over is measured, whatever time that takes
        return self._recorded(Choice.of(trial), key, lambda: made), made

    def built(self, choice: Choice) -> Quantized:
        """The model of a candidate."""
        setting = self.setting(choice.changes)
        return setting.lowered(setting.giving(choice.fp32, choice.bf16) if choice.fp32 or choice.bf16 else None)

    def timed(self, trial: Trial) -> Trial:
        """A trial with its speed measured in full."""
        if trial.timed:
            return trial
        speed = self.verifier.speed(self.built(Choice.of(trial)).model)
        return self._kept(replace(trial, speedup=speed.speedup, timed=True))

    def _recorded(self, choice: Choice, key: str, build: Callable[[], Quantized]) -> Trial:
        known = self.log.trial(key)
        if known is not None:
            self.trials[key] = known
            return known
        if self.trials:  # the first is measured in any case: there must be something to hand over
            self.budget.check()
        start = time.monotonic()
        value, sqnr_db, speedup = self._figures(build().model)
        drop, taken = self.float_value - value, time.monotonic() - start
        made_of = (choice.changes, choice.fp32, choice.bf16)
        return self._kept(Trial(key, *made_of, value, drop, sqnr_db, speedup, taken))

    def _figures(self, model: Model) -> tuple[float, float, float]:
        """Metric, SQNR in dB and speedup of a model; measured once, where several choices come to the same."""
        digest = self._digests.of_model(model)
        if digest not in self._measured:
            value, fidelity = self.judge.value(model), self.verifier.fidelity(model)
            speed = self.verifier.speed(model, _ROUNDS)
            self._measured[digest] = (value, max(fidelity.sqnr_db, -200.0), speed.speedup)
        return self._measured[digest]

    def _kept(self, trial: Trial) -> Trial:
        self.trials[trial.key] = trial
        self.log.add(trial)
        return trial

    def ranking(self, changes: Mapping[str, Any], rank: Callable[[Setting], list[Sensitivity]]) -> list[Sensitivity]:
        """The ranking of a changed recipe."""
        key = combined(self._identity, "ranking", self.recipe(changes).to_toml())
        known = self.log.ranking(key)
        if known is not None:
            return list(known)
        entries = rank(self.setting(changes))
        self.log.add_ranking(key, entries)
        return entries


def digest_of_ranges(ranges: Mapping[Any, Range]) -> str:
    """Identifies the calibration data by what it gave, to three digits: sums of floats may differ from run to run."""
    return combined(*(f"{ref} {ranges[ref].lo:.2e} {ranges[ref].hi:.2e}" for ref in sorted(ranges)))
