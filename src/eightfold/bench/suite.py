"""Measures models in turns: each in a process of its own that stays alive, one running at a time.

Rounds go A B C, A B C, ...: a slow minute of the machine then falls on all of them, and ratios are formed
inside a round (`timer.speedup`). No two models share a process, so none inherits another's threads, heap or
JIT caches.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.machine import Machine, this_machine
from eightfold.bench.process import Subject, Worker
from eightfold.bench.protocol import Job
from eightfold.bench.timer import Ratio, Timing, speedup, timing
from eightfold.errors import DataError, ModelError

__all__ = ["Comparison", "Measurement", "Settings", "compare", "size_mb"]

Feeds = Mapping[str, npt.NDArray[Any]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done and all steps."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        batch_size: images in a batch.
        intra: threads inside one operation; None leaves it to TensorFlow (all cores).
        inter: operations at a time; None leaves it to TensorFlow.
        rounds: how often each model gets its turn.
        seconds: of one turn, at least.
        least: runs in one turn, at least.
        warm_up: seconds after which the warm-up ends even if times still fall.
        signature: which signature of a SavedModel to run.
    """

    batch_size: int = 1
    intra: int | None = None
    inter: int | None = None
    rounds: int = 5
    seconds: float = 1.0
    least: int = 3
    warm_up: float = 10.0
    signature: str = "serving_default"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model's figures.

    Attributes:
        name: how the table calls it.
        model: its path.
        size_mb: on disk, in MB (10^6 bytes).
        peak_mb: the most resident memory of its process, runtime included, in MB.
        timing: of one batch.
        images_per_second: at the median.
        speedup: how many times faster than the first model of the comparison.
        versions: of what ran it.
        rounds_ms: the median of each round, in milliseconds.
    """

    name: str
    model: str
    size_mb: float
    peak_mb: float
    timing: Timing
    images_per_second: float
    speedup: Ratio
    versions: Mapping[str, str]
    rounds_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models measured in turns in one run; ratios are to the first."""

    measurements: tuple[Measurement, ...]
    settings: Settings
    machine: Machine
    command: str
    when: str

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name; a KeyError where there is none."""
        for one in self.measurements:
            if one.name == name:
                return one
        raise KeyError(f"{name!r} was not measured; {', '.join(one.name for one in self.measurements)} were")

    def ratio(self, fast: str, slow: str) -> Ratio:
        """How many times faster the model `fast` is than the model `slow`, paired by round."""
        return speedup([[ms] for ms in self[slow].rounds_ms], [[ms] for ms in self[fast].rounds_ms])

    def to_json(self) -> str:
        """JSON lines, one for each model; each carries the machine, the settings and the command with it."""
        context = {
            "settings": asdict(self.settings),
            "machine": asdict(self.machine),
            "command": self.command,
            "when": self.when,
        }
        return "".join(json.dumps({**asdict(one), **context}) + "\n" for one in self.measurements)


def compare(
    models: Sequence[str | Path | Subject],
    settings: Settings | None = None,
    *,
    feeds: Feeds | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Comparison:
    """Measures models in turns, in one run.

    Args:
        models: SavedModel folders, frozen `.pb` files, or subjects with workers of their own. The first is
            what the others are compared with.
        settings: how to measure; batches of one by default.
        feeds: one array for each input by its name; synthetic input by default.
        progress: told of every turn.
        command: what to record as the command that made the figures; that of this process by default.

    Raises:
        ModelError: a model does not exist, or its worker refuses it.
        DataError: an array of `feeds` is empty.
        EightfoldError: a worker died; its last words are in the message.
    """
    how = settings or Settings()
    subjects = _subjects(models)
    report = progress or _silent
    steps = (how.rounds + 1) * len(subjects)
    with ExitStack() as stack:
        path = stack.enter_context(_stored(feeds))
        workers = [stack.enter_context(Worker(subject)) for subject in subjects]
        versions = []
        for done, worker in enumerate(workers):
            report(f"load {worker.subject.name}", done, steps)
            versions.append(_load(worker, how, path))
        rounds: list[list[list[float]]] = [[] for _ in workers]
        for turn in range(how.rounds):
            for which, worker in enumerate(workers):
                report(f"run {worker.subject.name}", (turn + 1) * len(workers) + which, steps)
                times = worker.ask("time", seconds=how.seconds, least=how.least)["seconds"]
                rounds[which].append(times)
        peaks = [float(worker.ask("memory")["peak_mb"]) for worker in workers]
    report("done", steps, steps)
    measured = (
        _measurement(subject, how, own, rounds[0], peak, version)
        for subject, own, peak, version in zip(subjects, rounds, peaks, versions, strict=True)
    )
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Comparison(tuple(measured), how, this_machine(), command or shlex.join(sys.argv), when)


def size_mb(model: str | Path) -> float:
    """What a file, or all files of a folder, take on disk, in MB (10^6 bytes)."""
    path = Path(model)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _silent(what: str, done: int, steps: int) -> None:
    pass


def _subjects(models: Sequence[str | Path | Subject]) -> list[Subject]:
    if not models:
        raise ModelError("there is no model to measure; expected at least one")
    subjects = [one if isinstance(one, Subject) else Subject(str(one), Path(one)) for one in models]
    for subject in subjects:
        if not subject.model.exists():
            raise ModelError(f"the model {subject.model} does not exist; expected a SavedModel or a .pb file")
    return subjects


def _load(worker: Worker, how: Settings, feeds: str | None) -> dict[str, str]:
    """Loads and warms up one model; returns the versions of what runs it."""
    job = Job(
        model=str(worker.subject.model),
        batch_size=how.batch_size,
        intra=how.intra,
        inter=how.inter,
        signature=how.signature,
        feeds=feeds,
    )
    versions: dict[str, str] = worker.ask(**job.request())["versions"]
    worker.ask("warm_up", limit=how.warm_up)
    return versions


@contextmanager
def _stored(feeds: Feeds | None) -> Iterator[str | None]:
    """The arrays as an .npz file that workers can read, for as long as the block lasts."""
    if feeds is None:
        yield None
        return
    for name, array in feeds.items():
        if not array.size:
            raise DataError(f"the array for input {name!r} is empty: its shape is {array.shape}")
    with tempfile.TemporaryDirectory(prefix="eightfold-") as folder:
        path = Path(folder, "feeds.npz")
        np.savez(path, **dict(feeds))  # type: ignore[arg-type]
        yield str(path)


def _measurement(
    subject: Subject,
    how: Settings,
    rounds: list[list[float]],
    first: list[list[float]],
    peak: float,
    versions: Mapping[str, str],
) -> Measurement:
    own = timing(rounds)
    return Measurement(
        name=subject.name,
        model=str(subject.model),
        size_mb=size_mb(subject.model),
        peak_mb=peak,
        timing=own,
        images_per_second=how.batch_size / own.median_ms * 1e3,
        speedup=speedup(first, rounds),
        versions=versions,
        rounds_ms=tuple(timing([one]).median_ms for one in rounds),
    )
