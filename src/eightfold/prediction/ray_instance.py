"""One instance of a model on a machine of a Ray cluster: an actor that keeps a worker process and feeds it shards."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from eightfold import errors
from eightfold.errors import EightfoldError
from eightfold.prediction.job import MAX_ATTEMPTS, Job, Shard, gave_up
from eightfold.prediction.local import Worker
from eightfold.prediction.ray_cores import Cores, take
from eightfold.running.environment import environment
from eightfold.running.process import WorkerDeath, this_eightfold
from eightfold.running.settings import Runtime
from eightfold.system.topology import topology

__all__ = ["Instance", "Task", "error_answer", "error_of", "gathered"]

EVERY = 0.5
"""Seconds between two answers: Ray takes some 10 ms for each, and a small shard no longer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task:
    """What all instances of a job are told.

    Attributes:
        job: the file of the job.
        folder: where parts are written.
        runtime: threads, environment and cores of an instance.
        directory: where the job was started: modules of the user's own are looked for there.
        worker: what Python is told to run, as its arguments.
    """

    job: str
    folder: str
    runtime: Runtime
    directory: str
    worker: tuple[str, ...]


class Instance:
    """What Ray Data makes one of in each actor, and calls with the shards that it is to compute.

    The model runs in a process of its own, the same as on one machine, pinned and with its environment from the
    start. It ends when the actor does, since the actor holds its input. Exceptions are answered and not raised: Ray
    would try again what never can succeed.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._worker: Worker | None = None
        self._cores: Cores | None = None
        self._deaths = 0

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, list[str]]]:
        """Computes shards, and tells of them by answers in JSON: what is done, or what ends the job."""
        for text in batch["shards"]:
            try:
                for done in gathered(self._computed(deque(Shard(*shard) for shard in json.loads(text))), EVERY):
                    yield {
                        "answer": [json.dumps({"done": done, "deaths": self._deaths, "pid": os.getpid(), **_place()})]
                    }
            except EightfoldError as error:
                yield {"answer": [json.dumps(error_answer(error, f"on the node {_place()['node']}: "))]}

    def _computed(self, left: deque[Shard]) -> Iterator[tuple[int, int]]:
        """Computes shards, again when the worker dies over them.

        A worker that reads and computes ahead may have died over any of the shards that it was given. So after a death
        they are given one by one, and only then does a death count against a shard.

        Returns:
            For each its number, and how many of its rows were skipped.

        Raises:
            EightfoldError: the worker refused the job or a shard, or several died over the same shard.
        """
        attempts: Counter[int] = Counter()
        ahead = True
        while left:
            try:
                for skipped in _fed(self._ready(), left, 2 if ahead else 1):
                    yield left.popleft().number, skipped
            except WorkerDeath as death:
                self._end()
                self._deaths += 1
                attempts[left[0].number] += not ahead
                ahead = False
                if attempts[left[0].number] >= MAX_ATTEMPTS:
                    raise gave_up(left[0], MAX_ATTEMPTS, death) from death
            except BaseException:  # the worker is not asked again after a refusal
                self._end()
                raise

    def _ready(self) -> Worker:
        """The worker with the model and the job open; a new one where there is none."""
        if self._worker is None:
            task = self._task
            self._cores = self._cores or take(task.runtime, topology())
            paths = {"PYTHONPATH": os.pathsep.join([this_eightfold()["PYTHONPATH"], task.directory])}
            self._worker = Worker(
                "a worker", (sys.executable, *task.worker), {**paths, **environment(task.runtime)}, self._cores.cpus
            )
            self._worker.send("open", call=asdict(Job.from_json(Path(task.job).read_text(encoding="utf-8")).call))
            self._worker.described()
            self._worker.ask("job", file=task.job, folder=task.folder)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


def gathered(items: Iterable[T], seconds: float) -> Iterator[list[T]]:
    """All items in lists; one is given out with the first item that comes so many seconds after the one before it."""
    found: list[T] = []
    since = time.monotonic()
    for item in items:
        found.append(item)
        if time.monotonic() - since >= seconds:
            yield found
            found, since = [], time.monotonic()
    if found:
        yield found


def _fed(worker: Worker, left: deque[Shard], most: int) -> Iterator[int]:
    """Has shards computed. With two of them at a time at the worker, the rows of the second are read ahead.

    Returns:
        For each in turn, how many of its rows were skipped. The caller takes it out of `left`.
    """
    waiting = deque(left)
    sent = 0
    while waiting or sent:
        while waiting and sent < most:
            worker.send("shard", **asdict(waiting.popleft()))
            sent += 1
        skipped: int = worker.answer()["skipped"]
        sent -= 1
        yield skipped


def error_answer(error: EightfoldError, where: str = "") -> dict[str, str]:
    """The answer that stands for an exception."""
    return {"error": f"{where}{error}", "kind": type(error).__name__}


def error_of(answer: Mapping[str, Any]) -> EightfoldError:
    """The exception that an answer stands for."""
    kind: type[EightfoldError] = getattr(errors, answer["kind"], EightfoldError)
    error = kind.__new__(kind)  # some take other arguments than the sentence
    error.args = (answer["error"],)
    return error


def _place() -> dict[str, str]:
    """Which node and which actor of the cluster this is."""
    import ray

    here = ray.get_runtime_context()
    return {"node": ray.util.get_node_ip_address(), "actor": here.get_actor_id() or ""}
