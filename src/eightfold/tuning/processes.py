"""Gives candidates their turns on this machine: each in processes of its own, which stay alive between the turns.

Everything that is read when a process starts (threads, environment, allocator, cores) belongs to the process; another
batch size needs but another session in it, which stays too. Not the same session: its weights are laid out for the
batch that it saw first. Processes are started side by side where there are cores for that, before the first of them
has its turn, and stay as long as there is memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from eightfold.bench.budget import Budget
from eightfold.bench.instances import Instances, Turn
from eightfold.bench.process import TENSORFLOW_WORKER, Subject
from eightfold.bench.timer import percentile
from eightfold.errors import EightfoldError, ModelError
from eightfold.running.environment import environment
from eightfold.running.process import this_eightfold
from eightfold.system.memory import memory
from eightfold.system.topology import topology
from eightfold.tuning.candidate import Candidate, Failure, Outcome, Sample, Variant
from eightfold.tuning.space import CALLER_THREAD

__all__ = ["Processes"]

SECONDS, BATCHES = 0.6, 2
"""Of a turn, at least."""
WARM_UP = 2.0
"""Seconds after which a warm-up ends even if times still fall."""
AGAIN = 1
"""Batches that a session runs before its turn when another one had the process in between."""
FIRST_GUESS_MB = 1200.0
"""Of a process, before one has been seen."""
SPARE = 0.2
"""The share of the free memory that is left alone."""
COMPARED = 2
"""Candidates that are measured whatever the budget."""


class Processes:
    """The running candidates. Use it as a context manager: the processes end with the block.

    Args:
        models: the path of each form of the model.
        signature: which to call.
        feeds: an .npz file with an array for each input, or None for synthetic input.
        budget: looked at before each start and each turn, once two candidates have had theirs: one alone would be the
            best of nothing.
        program: the worker, which speaks `eightfold.bench.protocol`.

    Attributes:
        versions: of what runs the models; empty before the first turn.
        started: how many candidates were given processes.
    """

    def __init__(
        self,
        models: Mapping[Variant, Path],
        signature: str,
        feeds: str | None,
        budget: Budget,
        program: Sequence[str] = TENSORFLOW_WORKER,
    ) -> None:
        self._models, self._signature, self._feeds, self._budget = models, signature, feeds, budget
        self._program = program
        self._running: dict[str, Instances] = {}
        self._warm: set[Candidate] = set()
        self._measured: set[Candidate] = set()
        self._largest_mb = 0.0
        self._cores = topology().usable
        self.versions: Mapping[str, str] = {}
        self.started = 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._running):
            self._end(name)

    def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        """A turn for each candidate.

        Raises:
            BudgetSpent: the time is over.
        """
        waiting = list(candidates)
        while waiting:
            self._check()
            group = self._that_fit(waiting)
            failures = self._start([one for one in group if one.process not in self._running])
            for one in group:
                self._check()
                outcome = failures.get(one) or self._turn(one)
                if isinstance(outcome, Sample):
                    self._measured.add(one)
                yield one, outcome
            waiting = waiting[len(group) :]

    def _that_fit(self, waiting: Sequence[Candidate]) -> list[Candidate]:
        """As many of them, from the first on, as there is memory for, at least one; others' processes make room."""
        free = self._free_mb()
        new: set[str] = set()
        for place, one in enumerate(waiting):
            if one.process in self._running or one.process in new:
                continue
            need = self._need_mb(one)
            wanted = {other.process for other in waiting}
            for name in [name for name in self._running if name not in wanted]:
                if free < need:
                    free += self._end(name)
            if free < need and place:
                return list(waiting[:place])
            free -= need
            new.add(one.process)
        return list(waiting)

    def _check(self) -> None:
        if len(self._measured) >= COMPARED:
            self._budget.check()

    def _free_mb(self) -> float:
        seen = memory()
        free = seen.available if seen.available is not None else seen.usable
        return (1 - SPARE) * min(free, seen.usable) / 1e6

    def _need_mb(self, one: Candidate) -> float:
        return one.runtime.instances * (self._largest_mb or FIRST_GUESS_MB)

    def _start(self, candidates: Sequence[Candidate]) -> dict[Candidate, Failure]:
        """Starts processes and loads the model, several candidates at a time; returns those that failed.

        Of candidates that share processes, the first is loaded.
        """
        first = list({one.process: one for one in reversed(candidates)}.values())
        if not first:
            return {}
        failures = {one: failure for one in first if (failure := self._open(one))}
        at_a_time = max(1, self._cores // max(one.runtime.instances for one in first))
        with ThreadPoolExecutor(at_a_time) as threads:
            loading = {one: threads.submit(self._load, one) for one in first if one not in failures}
            try:
                wait(loading.values())
            except KeyboardInterrupt:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        errors = {one: error for one, future in loading.items() if (error := future.exception())}
        return failures | {one: self._failed(one, error) for one, error in errors.items()}

    def _open(self, one: Candidate) -> Failure | None:
        """Starts the processes of a candidate; they import nothing yet."""
        how = one.runtime
        unset = {} if CALLER_THREAD in how.env else {CALLER_THREAD: None}
        try:
            env = {**this_eightfold(), **unset, **environment(how)}
            subject = Subject(one.variant, self._models[one.variant], self._program, env, how)
            self._running[one.process] = Instances(subject)
        except EightfoldError as error:
            return Failure(str(error))
        self.started += 1
        return None

    def _load(self, one: Candidate) -> None:
        """Makes the processes run a candidate's batch size."""
        instances = self._running[one.process]
        if one in self._warm and instances.subject.runtime == one.runtime:
            return
        self._check()
        instances.subject = replace(instances.subject, runtime=one.runtime)
        warm_up = AGAIN if one in self._warm else None
        self.versions = instances.load(self._signature, self._feeds, WARM_UP, warm_up).versions
        self._warm.add(one)

    def _turn(self, one: Candidate) -> Outcome:
        if one.process not in self._running and (failure := self._open(one)):
            return failure
        try:
            self._load(one)
            instances = self._running[one.process]
            turn = instances.turn(SECONDS, BATCHES)
            self._largest_mb = max(self._largest_mb, instances.peak_mb / one.runtime.instances)
        except EightfoldError as error:
            return self._failed(one, error)
        return _sample(turn)

    def _failed(self, one: Candidate, error: BaseException) -> Failure:
        """Why a candidate failed; what is no fault of its own is raised. A process that refused may go on."""
        if not isinstance(error, EightfoldError):
            raise error
        if not isinstance(error, ModelError):
            self._end(one.process)
        return Failure(str(error))

    def _end(self, name: str) -> float:
        """Ends the processes of a candidate, if there are any; returns about how much memory that frees, in MB."""
        instances = self._running.pop(name, None)
        if instances is None:
            return 0.0
        instances.__exit__(None, None, None)
        self._warm = {one for one in self._warm if one.process != name}
        return instances.subject.runtime.instances * (self._largest_mb or FIRST_GUESS_MB)


def _sample(turn: Turn) -> Sample:
    latencies = [seconds * 1e3 for seconds in turn.latencies]
    return Sample(turn.images_per_second, *(percentile(latencies, percent) for percent in (50, 90, 99)))
