"""Computes shards on this machine: pinned worker processes, each replaced when it dies."""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from eightfold.data.spec import InputSpec
from eightfold.errors import DataError, EightfoldError, ModelError, OutputError, PlatformError
from eightfold.prediction.job import MAX_ATTEMPTS, Call, Done, Shard, gave_up
from eightfold.running.environment import environment
from eightfold.running.pinning import cpus_of
from eightfold.running.process import Process, WorkerDeath, this_eightfold
from eightfold.running.settings import Runtime
from eightfold.system.topology import topology

__all__ = ["WORKER", "Described", "Worker", "Workers"]

WORKER = (sys.executable, "-m", "eightfold.prediction.worker")


@dataclass(frozen=True, slots=True)
class Described:
    """What a worker says of the model that it has loaded."""

    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, InputSpec]
    versions: Mapping[str, str]


class Workers:
    """Processes that load a model at once and then compute shards. Use it as a context manager.

    Args:
        call: the model.
        runtime: how many processes, their cores, and their environment.

    Raises:
        EightfoldError: a process cannot be started.
        PlatformError: the settings ask for more cores than there are.
    """

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self._call = call
        self._env = {**this_eightfold(), **environment(runtime)}
        self._places = cpus_of(runtime, topology())
        self._workers: list[Worker] = []
        self.deaths = 0
        try:
            for cpus in self._places:
                self._workers.append(self._start(cpus))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return tuple(worker.pid for worker in self._workers)

    def describe(self) -> Described:
        """Waits until the first worker has loaded the model.

        Raises:
            ModelError: it cannot be loaded.
            EightfoldError: several workers died over it.
        """
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return self._workers[0].described()
            except WorkerDeath:
                self.deaths += 1
                self._replace(0)
        return self._workers[0].described()

    def run(self, job: Path, folder: Path, shards: Iterable[Shard], done: Callable[[Done], None]) -> None:
        """Computes all shards; when this returns, their parts are in the folder.

        Args:
            job: the file that the job is in.
            folder: where parts are written.
            shards: what is to be computed.
            done: called in this thread for each part that has been written.

        Raises:
            EightfoldError: a worker refused a shard, or several died over the same one.
        """
        pending = _Pending(shards, len(self._workers), self.deaths)
        threads = [
            threading.Thread(target=self._serve, args=(place, job, folder, pending), name=f"worker {place}")
            for place in range(len(self._workers))
        ]
        for thread in threads:
            thread.start()
        try:
            pending.watch(done)
        finally:
            pending.stop()
            for worker in self._workers:
                worker.kill()
            for thread in threads:
                thread.join()

    def _start(self, cpus: Sequence[int] | None) -> Worker:
        worker = Worker("a worker", WORKER, self._env, cpus)
        worker.send("open", call=asdict(self._call))
        return worker

    def _replace(self, place: int) -> None:
        self._workers[place].end()
        self._workers[place] = self._start(self._places[place])

    def _serve(self, place: int, job: Path, folder: Path, pending: _Pending) -> None:
        """Keeps one place busy until no shards are left, with one worker after the other as they die."""
        given: deque[Shard] = deque()
        try:
            while not pending.stopped:
                try:
                    self._feed(self._workers[place], job, folder, pending, given)
                    break
                except WorkerDeath as death:
                    pending.died(given, death)
                    given.clear()
                    if not pending.stopped:
                        self._replace(place)
        except BaseException as error:  # raised by `watch`, in the thread that called `run`
            pending.ended(error)
        else:
            pending.ended(None)

    def _feed(self, worker: Worker, job: Path, folder: Path, pending: _Pending, given: deque[Shard]) -> None:
        """Gives shards to a worker, the next before the one before it is done, so that it can read ahead."""
        worker.described()
        worker.ask("job", file=str(job), folder=str(folder))
        while True:
            while len(given) < 2 and (shard := pending.take(given)) is not None:
                worker.send("shard", number=shard.number, start=shard.start, stop=shard.stop)
                given.append(shard)
            if not given:
                return
            answer = worker.answer()
            pending.finished(Done(given.popleft(), answer["skipped"]))


class Worker(Process):
    """A worker, and what it has said of the model."""

    _description: Described | None = None

    def described(self) -> Described:
        if self._description is None:
            answer = self.answer()
            inputs, outputs = (
                {spec["name"]: InputSpec(**{**spec, "shape": _shape(spec["shape"])}) for spec in answer[name]}
                for name in ("inputs", "outputs")
            )
            self._description = Described(inputs, outputs, answer["versions"])
        return self._description

    def refusal(self, answer: Mapping[str, Any]) -> EightfoldError:
        kind = {known.__name__: known for known in (DataError, ModelError, OutputError, PlatformError)}
        return kind.get(answer["kind"], EightfoldError)(answer["error"])


def _shape(shape: list[int | None] | None) -> tuple[int | None, ...] | None:
    return None if shape is None else tuple(shape)


@dataclass(slots=True)
class _Pending:
    """Which shards nobody has taken yet, shared by the threads of all places."""

    shards: Iterable[Shard]
    places: int
    deaths: int
    stopped: bool = False
    _left: deque[Shard] = field(default_factory=deque)
    _attempts: Counter[int] = field(default_factory=Counter)
    _doubtful: set[int] = field(default_factory=set)
    _starts: int = 0
    _events: SimpleQueue[Done | BaseException | None] = field(default_factory=SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left = deque(self.shards)

    def take(self, given: Sequence[Shard]) -> Shard | None:
        """The next shard for a worker.

        Args:
            given: what it has already. None is read ahead of them where the others would be left without work, or
                where a worker has died that had one of both together with another shard.
        """
        with self._lock:
            if self.stopped or len(self._left) <= (self.places if given else 0):
                return None
            if given and not self._doubtful.isdisjoint((given[0].number, self._left[0].number)):
                return None
            return self._left.popleft()

    def finished(self, done: Done) -> None:
        """A part has been written."""
        self._starts = 0
        self._events.put(done)

    def died(self, given: Sequence[Shard], death: WorkerDeath) -> None:
        """A worker has died: the shards that it had been given go back.

        It may have died over any of them: the first is computed while the next one is decoded. So where there were
        several, each is given by itself from now on, and only then does a death count against a shard.

        Raises:
            EightfoldError: too often, over one shard or before any.
        """
        if self.stopped:
            return
        with self._lock:
            self.deaths += 1
            self._left.extendleft(reversed(given))
            if len(given) > 1:
                self._doubtful.update(shard.number for shard in given)
                return
            if given:
                self._attempts[given[0].number] += 1
                if self._attempts[given[0].number] >= MAX_ATTEMPTS:
                    raise gave_up(given[0], MAX_ATTEMPTS, death)
                return
            self._starts += 1
            if self._starts >= MAX_ATTEMPTS:
                raise death

    def ended(self, error: BaseException | None) -> None:
        """A place has no more to do, or cannot go on."""
        self._events.put(error)

    def stop(self) -> None:
        """No more shards are given out."""
        self.stopped = True

    def watch(self, done: Callable[[Done], None]) -> None:
        """Reports what is finished until all places have ended; raises what ended one of them."""
        running = self.places
        while running:
            event = self._events.get()
            if isinstance(event, Done):
                done(Done(event.shard, event.skipped, self.deaths))
                continue
            if event is not None:
                raise event
            running -= 1
