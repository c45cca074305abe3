"""A machine that exists in numbers only: how fast it runs a model is known; measuring costs as on a real one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from eightfold.system.topology import Core, Topology
from eightfold.tuning.candidate import Candidate, Outcome, Sample
from eightfold.tuning.space import CALLER_THREAD

START, LOAD, TURN = 6.0, 1.0, 0.6
"""Seconds: a process, a model into a process, a turn."""


def cores(count: int, threads: int = 1) -> Topology:
    """A machine of one socket."""
    return Topology(tuple(Core(tuple(range(threads * i, threads * (i + 1))), 0, 0) for i in range(count)))


@dataclass
class Machine:
    """Gives turns as `eightfold.tuning.processes` does, and counts the seconds that they would take.

    Attributes:
        seed: chooses what the machine is good at, and its noise.
        cores: that it has.
        noise: standard deviation of a turn.
        outliers: the share of turns that something else makes slower, by up to three times.
        drift: how much its speed changes over minutes.
        alike: whether no setting matters.
        room: processes that it can hold.
    """

    seed: int
    cores: int = 2
    noise: float = 0.02
    outliers: float = 0.05
    drift: float = 0.15
    alike: bool = False
    room: int = 24
    seconds: float = 0.0
    turns: int = 0
    started: int = 0
    loaded: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        traits = random.Random(self.seed)
        self._luck = random.Random(self.seed + 1)
        self.scaling = traits.uniform(0.6, 1.0)  # of threads inside an operation
        self.launch = traits.uniform(0.05, 1.5)  # cost of a batch, in images, that does not grow with it
        self.cache = traits.uniform(0.0, 0.25)  # what a batch of 32 loses
        self.gain: dict[object, float] = {
            name: traits.uniform(-0.25, 0.25)
            for name in ("caller", -1, 1, None, "pinned", "tcmalloc", "jemalloc", "system")
        }
        self.gain["beside"] = random.Random(self.seed + 2).uniform(-0.25, 0.25)  # operations side by side
        self.int8 = traits.uniform(1.5, 3.8)
        self.phase = traits.uniform(0, 6)

    def rate(self, one: Candidate) -> float:
        """The truth: images in a second, of all instances."""
        how = one.runtime
        if self.alike:
            return 100.0
        threads = how.intra or self.cores
        used = min(how.instances * threads, self.cores) / threads
        alone = float(threads) ** self.scaling * how.batch_size / (how.batch_size + self.launch * math.sqrt(threads))
        factor = self.int8 if one.variant == "int8" else 1.0
        factor *= 1 - self.cache * math.log(how.batch_size, 32) * (how.instances > 1)
        waking = self.gain["caller"] * (threads > 1) / math.sqrt(how.batch_size)
        factor *= math.exp(
            waking * (CALLER_THREAD in how.env) + self.gain["beside" if (how.inter or 0) > 1 else how.inter] / 2
        )
        factor *= math.exp(self.gain["pinned"] * (how.cores is not None) / 3 + self.gain[how.allocator] / 2)
        return float(100 * used * alone * factor)

    def latency(self, one: Candidate) -> float:
        """The truth: milliseconds of a batch."""
        return 1e3 * one.runtime.batch_size * one.runtime.instances / self.rate(one)

    def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        for one in candidates:
            self._prepare(one)
        for one in candidates:
            self._prepare(one)
            self.seconds += TURN
            self.turns += 1
            slow = math.exp(self._luck.gauss(0, self.noise)) / self._weather()
            if self._luck.random() < self.outliers:
                slow *= self._luck.uniform(1.1, 3)
            ms = self.latency(one) * slow
            yield one, Sample(self.rate(one) / slow, ms, 1.1 * ms, 1.3 * ms)

    def _weather(self) -> float:
        """The speed of the machine now: waves, and a neighbour that comes and goes."""
        neighbour = 0.8 if self.drift and (self.seconds + 40 * self.phase) % 240 > 180 else 1.0
        return neighbour * (1 + self.drift * math.sin(self.phase + self.seconds / 60))

    def _prepare(self, one: Candidate) -> None:
        if one.process not in self.loaded:
            self.seconds += START
            self.started += 1
            while len(self.loaded) >= self.room:
                self.loaded.pop(next(iter(self.loaded)))
        elif self.loaded[one.process] != one.runtime.batch_size:
            self.seconds += LOAD
        self.loaded[one.process] = one.runtime.batch_size
