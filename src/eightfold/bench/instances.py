"""One model, run by one process or by several at the same time, each on cores of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from eightfold.bench.process import Subject, Worker
from eightfold.bench.protocol import Job
from eightfold.errors import EightfoldError
from eightfold.graph.ir import Array
from eightfold.running.pinning import cpus_of
from eightfold.system.topology import topology

__all__ = ["Instances", "Loaded", "Turn"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the first instance of a subject says of what it has loaded.

    Attributes:
        versions: of what runs the model, by name.
        about: how it runs it, in words, by name; often nothing.
    """

    versions: Mapping[str, str]
    about: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """What all instances of a subject did in one turn.

    All of them begin at the same time and end at different ones. What is left of the slower ones then has the machine
    for itself, so images are counted only up to the moment when the first has ended.

    Attributes:
        times: the seconds of each batch, from when it was begun until its outputs were there; one tuple for each
            instance, or for each batch that an instance has in flight, in which one batch begins when the one before
            it ends.
        batch_size: examples in a batch.
        cpu_seconds: CPU time that the instances used.
        figures: what the runs of each instance found out, in their order, such as the `loss` of a step of training;
            empty for inference.
    """

    times: tuple[tuple[float, ...], ...]
    batch_size: int
    cpu_seconds: float
    figures: tuple[tuple[Mapping[str, float], ...], ...] = ()

    @property
    def first(self) -> int:
        """Which of `times` ended first."""
        return min(range(len(self.times)), key=lambda place: sum(self.times[place]))

    def progress(self) -> tuple[Array, Array]:
        """How far the turn was after each batch of the one that ended first.

        Returns:
            Seconds since the turn began, and images that all together had done by then; of a batch that was under way
            the share of its time that had passed counts.
        """
        moments = np.cumsum(self.times[self.first])
        done = [np.interp(moments, np.cumsum((0.0, *own)), np.arange(len(own) + 1)) for own in self.times]
        return moments, self.batch_size * np.sum(done, axis=0)

    @property
    def seconds(self) -> float:
        """How long the turn took: the longest of the instances."""
        return max(sum(own) for own in self.times)

    @property
    def images_per_second(self) -> float:
        """All instances together, over the time in which all of them ran; what stalls now and then counts too."""
        moments, images = self.progress()
        return float(images[-1] / moments[-1])

    @property
    def latencies(self) -> list[float]:
        """The seconds of each batch, of all instances."""
        return [seconds for own in self.times for seconds in own]


class Instances:
    """The running workers of a subject, as many as its run-time settings say.

    Use it as a context manager: the processes end with the block.

    Raises:
        EightfoldError: a worker cannot be started.
        PlatformError: the settings ask for more cores than there are.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        with ExitStack() as stack:
            places = cpus_of(subject.runtime, topology())
            self._workers = [stack.enter_context(Worker(subject, cpus)) for cpus in places]
            self._stack = stack.pop_all()

    def __enter__(self) -> Instances:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def load(self, signature: str, feeds: str | None, warm_up: float, warm_up_batches: int | None = None) -> Loaded:
        """Loads and warms up the model in every instance, all at the same time.

        Args:
            signature: which of the model to run.
            feeds: an .npz file with one array for each input, or None for synthetic input.
            warm_up: seconds after which the warm-up ends even if times still fall.
            warm_up_batches: how many batches the warm-up has, in place of that.

        Returns:
            What runs it, and how.

        Raises:
            ModelError: a worker refused the model, with its reason.
            EightfoldError: a worker died, with the last lines that it wrote.
        """
        how = self.subject.runtime
        job = Job(
            model=str(self.subject.model),
            batch_size=how.batch_size,
            intra=how.intra,
            inter=how.inter,
            signature=signature,
            feeds=feeds,
            layout=how.layout,
            bfloat16=how.precision == "bf16",
        )
        answer = self._all(**job.request())[0]
        if warm_up_batches is None:
            self._all("warm_up", limit=warm_up)
        else:
            self._all("time", seconds=0, least=warm_up_batches)
        return Loaded(answer["versions"], answer.get("about", {}))

    def turn(self, seconds: float, least: int) -> Turn:
        """Runs all instances at the same time: each for at least so many seconds, and at least so many batches."""
        before = self._used("cpu_seconds")
        answers = self._all("time", seconds=seconds, least=least)
        spent = sum(self._used("cpu_seconds")) - sum(before)
        times = tuple(tuple(own) for one in answers for own in one["seconds"])
        figures = tuple(tuple(one.get("figures", ())) for one in answers)
        return Turn(times, self.subject.runtime.batch_size, spent, figures if any(figures) else ())

    @property
    def peak_mb(self) -> float:
        """The most resident memory of the instances, runtime included, summed, in MB (10^6 bytes)."""
        return sum(self._used("peak_mb"))

    def _used(self, what: str) -> list[float]:
        return [float(answer[what]) for answer in self._all("used")]

    def _all(self, do: str, **request: Any) -> list[dict[str, Any]]:
        for worker in self._workers:
            worker.send(do, **request)
        answers, failures = [], []
        for worker in self._workers:  # all of them, or the next request would be given the answers to this one
            try:
                answers.append(worker.answer())
            except EightfoldError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        return answers
