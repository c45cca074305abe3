"""What tuning found, as a value."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eightfold.bench.frontier import frontier
from eightfold.bench.machine import Machine
from eightfold.bench.timer import Ratio
from eightfold.running.file import Measured, Tuned
from eightfold.running.settings import Mode, Runtime
from eightfold.tuning.candidate import Aim, Candidate, Sample, Variant
from eightfold.tuning.race import Ended, Found
from eightfold.tuning.standing import Standing

__all__ = ["Trial", "Tuning", "trial_of", "trials_of"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate and what it reached.

    Attributes:
        variant: fp32 (a float model as it is), bf16 or int8.
        settings: what it was run with.
        turns: how many it had.
        sample: medians over its turns; None where it failed.
        ratio: how many times as good as TensorFlow as it comes, over the rounds where both had a turn; None where
            they did not meet.
        failure: why it could not be measured.
    """

    variant: Variant
    settings: Runtime
    turns: int
    sample: Sample | None = None
    ratio: Ratio | None = None
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The trial as JSON can hold it; what it does not have is left out."""
        facts = {"variant": self.variant, "settings": self.settings.to_json(), "turns": self.turns}
        figures = {} if self.sample is None else asdict(self.sample)
        ratio = {} if self.ratio is None else {"over_default": asdict(self.ratio)}
        return {**facts, **figures, **ratio, **({"failure": self.failure} if self.failure else {})}


@dataclass(frozen=True)
class Tuning:
    """What `eightfold.tune` returns.

    Attributes:
        model: what was tuned.
        mode: what for.
        max_latency_ms: what the 90th percentile of the times of batches may reach, where that was limited.
        reached: whether the best keeps to that limit.
        best: the best trial.
        default: TensorFlow as it comes, with the batch size of the best; None where the search ended before it.
        trials: all of them, the best first, the failures last.
        ended: `clear`, `tie`, `rounds`, `budget` or `interrupted`: see `eightfold.tuning.race.Found`.
        seconds: how long it took.
        started: candidates that were given processes.
        machine: where.
        versions: of what ran the models.
        when: date and time, ISO 8601.
        command: what was asked for.
        int8: the path of the 8-bit model, where one was given.
        file: where the settings were written.
        log: where the turns were written.
    """

    model: Path
    mode: Mode
    max_latency_ms: float | None
    reached: bool
    best: Trial
    default: Trial | None
    trials: tuple[Trial, ...]
    ended: Ended
    seconds: float
    started: int
    machine: Machine
    versions: Mapping[str, str]
    when: str
    command: str
    int8: Path | None = None
    file: Path | None = None
    log: Path | None = None

    @property
    def settings(self) -> Runtime:
        """The best settings."""
        return self.best.settings

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in both throughput and latency; the highest throughput first."""
        measured = [(trial, trial.sample) for trial in self.trials if trial.sample]
        best = frontier(measured, lambda pair: pair[1].images_per_second, lambda pair: -pair[1].p50_ms)
        return [trial for trial, _ in best]

    def to_json(self) -> dict[str, Any]:
        """The value as JSON can hold it."""
        paths = {name: None if (path := getattr(self, name)) is None else str(path) for name in ("int8", "file", "log")}
        return {
            "model": str(self.model),
            "mode": self.mode,
            "max_latency_ms": self.max_latency_ms,
            "reached": self.reached,
            "best": self.best.to_json(),
            "default": None if self.default is None else self.default.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "ended": self.ended,
            "seconds": self.seconds,
            "started": self.started,
            "machine": asdict(self.machine),
            "versions": dict(self.versions),
            "when": self.when,
            "command": self.command,
            **paths,
        }

    def tuned(self, model: str | None) -> Tuned:
        """What `runtime.json` keeps.

        Args:
            model: the path of the 8-bit model where that is the best form, as the file is to have it.
        """
        assert self.best.sample is not None
        return Tuned(
            settings=self.settings,
            measured=Measured(**asdict(self.best.sample)),
            machine=asdict(self.machine),
            versions=dict(self.versions),
            when=self.when,
            command=self.command,
            model=model,
            trials=tuple(trial.to_json() for trial in self.trials),
        )

    def at(self, file: Path) -> Tuning:
        """The same, written to a file."""
        return replace(self, file=file)


def trials_of(found: Found, best: Candidate, default: Candidate) -> list[Trial]:
    """All candidates of a search: the best, then the others by the medians of their turns, then the failures.

    Which is best, differences inside rounds say; the others did not all meet it.
    """
    standing = found.standing
    worth = {one: statistics.median(map(standing.aim.worth, own.values())) for one, own in standing.samples.items()}
    order = sorted(worth, key=lambda one: (one != best, -worth[one]))
    failed = (one for one in found.failures if one not in standing.samples)
    return [*(trial_of(found, one, default) for one in order), *(trial_of(found, one, default) for one in failed)]


def trial_of(found: Found, one: Candidate, default: Candidate) -> Trial:
    """A candidate as a trial."""
    samples = list(found.standing.samples.get(one, {}).values())
    failure = found.failures.get(one)
    return Trial(
        variant=one.variant,
        settings=one.runtime,
        turns=len(samples),
        sample=_medians(samples) if samples else None,
        ratio=_ratio(found.standing, one, default),
        failure=failure.reason if failure else None,
    )


def _ratio(standing: Standing, one: Candidate, default: Candidate) -> Ratio | None:
    """How many times as good as the default, in the rounds where both had a turn; without any limit on latency."""
    worth = Aim(standing.aim.mode).worth
    own, other = standing.samples.get(one, {}), standing.samples.get(default, {})
    each = [math.exp(worth(own[number]) - worth(other[number])) for number in own if number in other]
    return Ratio(statistics.median(each), min(each), max(each)) if each else None


def _medians(samples: Iterable[Sample]) -> Sample:
    tables = [asdict(sample) for sample in samples]
    return Sample(**{name: statistics.median(table[name] for table in tables) for name in tables[0]})
