"""A search from an exported model to the result: what it needs is made here, and its outcome put into the report."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

from eightfold.bench.budget import Budget
from eightfold.data import Dataset
from eightfold.errors import DataError, RecipeError
from eightfold.graph.model import Model
from eightfold.quantization.analyze import analyze, sample_of
from eightfold.quantization.export import Progress
from eightfold.quantization.quantize import divided
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.search_record import SearchRecord, Sensitivity, Trial
from eightfold.quantization.setting import Setting, settled
from eightfold.quantization.verify import Verifier
from eightfold.search.accuracy import Search
from eightfold.search.candidates import Candidates, Choice, digest_of_ranges
from eightfold.search.digest import Digests, combined
from eightfold.search.judge import Judge
from eightfold.search.pareto import holds
from eightfold.search.sensitivity import rank
from eightfold.search.trials import TrialLog

__all__ = ["Goal", "searched"]

_NAMED = 8
"""Steps given back that are named one by one."""


@dataclass(frozen=True)
class Goal:
    """What is to be held.

    Attributes:
        judge: measures it.
        max_drop: how much may be lost.

    Raises:
        RecipeError: less than nothing may be lost.
    """

    judge: Judge
    max_drop: float

    def __post_init__(self) -> None:
        if not self.max_drop >= 0:
            raise RecipeError(f"max_drop is how much may be lost: expected 0 or more, received {self.max_drop}")


def searched(
    exported: Model,
    dataset: Dataset,
    recipe: Recipe,
    goal: Goal,
    budget: Budget,
    log: Path | None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Quantized:
    """The best model that a search finds; see `eightfold.quantize`.

    Args:
        exported: the float model.
        dataset: calibration data; a part is held back to measure closeness and speed.
        recipe: what the user asked for.
        goal: what is to be held.
        budget: how long it may take.
        log: where trials are written.
        resume: whether to go on with what is in the log.
        progress: told about each stage.

    Raises:
        DataError: the log is of another model, or the judge gives no number.
        KeyboardInterrupt: Ctrl-C before any candidate was measured.
    """
    tell = progress or (lambda *_: None)
    used, held, count, separate = divided(dataset)
    digest = Digests().of_model(exported)
    about = {"model": digest, "origin": exported.origin, "metric": goal.judge.name, "recipe": recipe.to_toml()}
    trials = TrialLog(log, about, resume=resume)
    float_value = _float_value(exported, digest, goal.judge, trials)
    start = settled(exported, recipe, used, tell)

    def settle(changed: Recipe) -> Setting:
        return settled(exported, changed, used, tell)

    def ranked(setting: Setting) -> list[Sensitivity]:
        return rank(
            setting.model,
            setting.plan,
            setting.ranges or {},
            dataset,
            corrections=setting.roundings,
            batch_size=dataset.batch_size,
            progress=checked,
        )

    def checked(stage: str, done: int, total: int | None) -> None:
        budget.check()
        tell(stage, done, total)

    verifier = Verifier(exported, held, separate, dataset.batch_size)
    identity = combined(digest, digest_of_ranges(start.ranges or {}), goal.judge.name, goal.judge.data)
    candidates = Candidates(identity, float_value, recipe, start, settle, goal.judge, verifier, trials, budget)
    search = Search(candidates, goal.max_drop, ranked, tell)
    search.run(exported)
    result = _finished(search, candidates, goal)
    report = replace(
        result.report,
        analysis=analyze(result, sample_of(held)) if result.plan.steps else None,
        calibration_samples=count,
        notes=(*result.report.notes, *dataset.notes),
    )
    return replace(result, report=report)


def _float_value(source: Model, digest: str, judge: Judge, log: TrialLog) -> float:
    """What all candidates are compared with: the float model as a trial.

    Raises:
        DataError: the judge gives no finite number for it.
    """
    key = combined(digest, judge.name, judge.data, "float")
    trial = log.trial(key)
    if trial is None or judge.of_reference:
        start = time.monotonic()
        value = judge.value(source)
        if not math.isfinite(value):
            raise DataError(f"{judge.name} gives no finite number for the float model")
        trial = Trial(key, {}, ("*",), (), value, 0.0, 200.0, 1.0, time.monotonic() - start)
        log.add(trial)
    return trial.value


def _finished(search: Search, candidates: Candidates, goal: Goal) -> Quantized:
    """The model that was chosen, as its recipe alone would make it, with the search in its report."""
    chosen = search.chosen
    result = candidates.built(Choice.of(chosen))
    plan = replace(result.plan, recipe=result.plan.settled_recipe)
    refusals = result.report.refusals  # in the words of the search, not in those of its recipe
    if not search.interrupted and (chosen.fp32 or chosen.bf16):
        trial, made = candidates.remade(chosen, result)
        if holds(trial, max(goal.max_drop, chosen.drop)):
            chosen, result = trial, made
    record = SearchRecord(
        metric=goal.judge.name,
        float_value=candidates.float_value,
        max_drop=goal.max_drop,
        reached=holds(chosen, goal.max_drop),
        ended=search.ended,
        chosen=chosen.key,
        trials=tuple(candidates.trials.values()),
        ranking=tuple(search.ranking),
    )
    speed = candidates.verifier.speed(result.model)
    slower = (f"the model runs at {speed.speedup:.2f} times the float speed",) if speed.speedup < 1 else ()
    report = replace(
        result.report,
        recipe=plan.recipe.to_dict(),
        refusals=refusals,
        fidelity=candidates.verifier.fidelity(result.model),
        speed=(speed,),
        notes=(*result.report.notes, *slower),
        fallbacks=_given_back(chosen, goal),
        search=record,
    )
    return replace(result, plan=plan, report=report)


def _given_back(trial: Trial, goal: Goal) -> tuple[str, ...]:
    told = []
    for names, kind in ((trial.fp32, "fp32"), (trial.bf16, "bf16")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            told.append(f"given back to {kind} for {goal.judge.name}: {', '.join(names[:_NAMED])}{more}")
    return tuple(told)
