"""Measures models in turns: each in processes of its own that stay alive, one model running at a time.

Rounds go A B C, A B C, ...: a slow minute of the machine then falls on all of them, and ratios are formed
inside a round (`timer.speedup`). No two models share a process, so none inherits another's threads, heap or
JIT caches. A model that runs in several instances has all of them run at the same time.
"""

from __future__ import annotations

import itertools
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy.typing as npt

from eightfold.bench.arrays import write_arrays
from eightfold.bench.instances import Instances, Loaded, Turn
from eightfold.bench.machine import this_machine
from eightfold.bench.measurement import Comparison, measured
from eightfold.bench.process import TENSORFLOW_WORKER, Subject
from eightfold.errors import DataError, ModelError
from eightfold.running.settings import Mode, Runtime
from eightfold.system.onednn import inherited
from eightfold.system.variables import VARIABLES

__all__ = ["Feeds", "Progress", "Settings", "compare"]

Feeds = Mapping[str, npt.NDArray[Any]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done and all steps."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure. How a model is run, in which batches and by how many processes, is its subject's `runtime`.

    Attributes:
        mode: what ratios are formed of: "latency" of the median time of a batch, divided by its images;
            "throughput" of the images/s of all instances together.
        rounds: how often each model gets its turn.
        seconds: of one turn, at least.
        least: batches in one turn, at least.
        batches: of each instance in all rounds together, in place of `seconds` and `least`; at most as many
            rounds are made.
        warm_up: seconds after which the warm-up ends even if times still fall.
        warm_up_batches: how many batches the warm-up has, in place of `warm_up`.
        signature: which signature of a SavedModel to run.
    """

    mode: Mode = "latency"
    rounds: int = 5
    seconds: float = 1.0
    least: int = 3
    batches: int | None = None
    warm_up: float = 10.0
    warm_up_batches: int | None = None
    signature: str = "serving_default"

    def turns(self) -> list[tuple[float, int]]:
        """For each round, the seconds and the batches that a turn has at least."""
        if self.batches is None:
            return [(self.seconds, self.least)] * self.rounds
        rounds = min(self.rounds, self.batches)
        share, rest = divmod(self.batches, rounds)
        return [(0.0, share + (number < rest)) for number in range(rounds)]


def compare(
    models: Sequence[str | Path | Subject],
    settings: Settings | None = None,
    *,
    runtime: Runtime | None = None,
    feeds: Feeds | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Comparison:
    """Measures models in turns, in one run.

    Args:
        models: SavedModel folders, frozen `.pb` files, or subjects with workers and run-time settings of their
            own. The first is what the others are compared with. One that is given again is called `net (2)`.
        settings: how to measure.
        runtime: how the models that are given as paths are run; one process and batches of one by default.
        feeds: one array for each input by its name; synthetic input by default. Each model takes its batches
            from the front, one after another and again from the front.
        progress: told of every turn.
        command: what to record as the command that made the figures; that of this process by default.

    Raises:
        ModelError: a model does not exist, or its worker refuses it.
        DataError: an array of `feeds` is empty.
        PlatformError: a runtime asks for more cores than there are, or for what this machine lacks.
        EightfoldError: a worker died; its last words are in the message.
    """
    how = settings or Settings()
    subjects = _subjects(models, runtime or Runtime())
    machine = this_machine()  # before the run, which is the load afterwards
    loaded, turns, peaks = _run(subjects, how, feeds, progress or _silent)
    measurements = measured(subjects, loaded, turns, peaks, how.mode)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    variables = {name: value for name, value in inherited().items() if name in VARIABLES}
    return Comparison(measurements, how, machine, command or _own_command(), when, variables)


def _run(
    subjects: Sequence[Subject], how: Settings, feeds: Feeds | None, report: Progress
) -> tuple[list[Loaded], list[list[Turn]], list[float]]:
    """What was loaded, turns and peak memory in MB of each subject."""
    plan = how.turns()
    steps = (len(plan) + 1) * len(subjects)
    with ExitStack() as stack:
        path = stack.enter_context(_stored(feeds))
        running = [stack.enter_context(Instances(subject)) for subject in subjects]
        loaded = []
        for done, instances in enumerate(running):
            report(f"load {instances.subject.name}", done, steps)
            loaded.append(instances.load(how.signature, path, how.warm_up, how.warm_up_batches))
        turns: list[list[Turn]] = [[] for _ in running]
        for number, (seconds, least) in enumerate(plan):
            for which, instances in enumerate(running):
                report(f"run {instances.subject.name}", (number + 1) * len(running) + which, steps)
                turns[which].append(instances.turn(seconds, least))
        peaks = [instances.peak_mb for instances in running]
    report("done", steps, steps)
    return loaded, turns, peaks


def _own_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])  # where programs lie says nothing elsewhere


def _silent(what: str, done: int, steps: int) -> None:
    pass


def _subjects(models: Sequence[str | Path | Subject], runtime: Runtime) -> list[Subject]:
    if not models:
        raise ModelError("there is no model to measure; expected at least one")
    subjects = _told_apart(
        one if isinstance(one, Subject) else Subject(str(one), Path(one), runtime=runtime) for one in models
    )
    for subject in subjects:
        if subject.command == TENSORFLOW_WORKER and not subject.model.exists():  # other workers may know it by name
            raise ModelError(f"the model {subject.model} does not exist; expected a SavedModel or a .pb file")
    return subjects


def _told_apart(subjects: Iterable[Subject]) -> list[Subject]:
    """The subjects with a name of its own for each: what is called `net` again becomes `net (2)`."""
    found: dict[str, Subject] = {}
    for subject in subjects:
        names = (f"{subject.name} ({number})" if number > 1 else subject.name for number in itertools.count(1))
        name = next(name for name in names if name not in found)
        found[name] = replace(subject, name=name)
    return list(found.values())


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
        write_arrays(path, feeds)
        yield str(path)
