"""What an accuracy search measured, as it stands in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SearchRecord", "Sensitivity", "Trial"]


@dataclass(frozen=True)
class Sensitivity:
    """How much error one compute step, with what carries its codes on, makes in the model's outputs.

    Attributes:
        name: of the step.
        op: its 8-bit op.
        only_db: SQNR of the worst output with only this step in 8 bits, in dB.
        without_db: SQNR of the worst output with only this step in float, in dB.
        error: its share of noise to signal in the output: the mean of what it makes alone, and of what goes with it
            when all others stay in 8 bits.
        cost_ms: how much longer a batch takes with this step in float, in milliseconds; 0 where it was not measured.
    """

    name: str
    op: str
    only_db: float
    without_db: float
    error: float
    cost_ms: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One candidate of a search, and what was measured of it.

    Attributes:
        key: identifies model, recipe, what was given back, and what it was judged on.
        changes: the keys of the recipe that differ from what was asked for.
        fp32: the steps given back to fp32.
        bf16: the steps given back to bf16.
        value: the metric, higher is better.
        drop: by how much the float model's value is higher.
        sqnr_db: SQNR of the worst output against float, on held-back samples, in dB.
        speedup: float time over its time, for one batch, measured in turns.
        seconds: how long the trial took.
        timed: whether its speed was measured in full, as that of what may be chosen is.
    """

    key: str
    changes: Mapping[str, Any]
    fp32: tuple[str, ...]
    bf16: tuple[str, ...]
    value: float
    drop: float
    sqnr_db: float
    speedup: float
    seconds: float
    timed: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """The trial that `dataclasses.asdict` took apart."""
        known = {**values, **{key: tuple(values[key]) for key in ("fp32", "bf16")}}
        if values["value"] is None:  # JSON has no infinities: the candidate gave nothing finite
            known |= {"value": -math.inf, "drop": math.inf}
        return cls(**known)


@dataclass(frozen=True)
class SearchRecord:
    """A search for the fastest model that holds a metric.

    Attributes:
        metric: what was measured.
        float_value: of the float model, higher is better.
        max_drop: how much less was allowed.
        reached: whether the model that was chosen holds it.
        ended: why the search ended: `done`, `budget` or `interrupted`.
        chosen: the key of the trial that was chosen.
        trials: all candidates, in the order tried.
        ranking: the steps by the error that they make, largest first; empty where the search ended before.
    """

    metric: str
    float_value: float
    max_drop: float
    reached: bool
    ended: str
    chosen: str
    trials: tuple[Trial, ...] = ()
    ranking: tuple[Sensitivity, ...] = field(default=())

    @property
    def best(self) -> Trial:
        """The trial that was chosen."""
        return next(trial for trial in self.trials if trial.key == self.chosen)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchRecord:
        """The record that `dataclasses.asdict` took apart."""
        trials = tuple(Trial.from_dict(trial) for trial in values["trials"])
        ranking = tuple(Sensitivity(**entry) for entry in values["ranking"])
        return cls(**{**values, "trials": trials, "ranking": ranking})
