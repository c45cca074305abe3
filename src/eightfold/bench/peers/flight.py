"""Several runs of one model at the same time, in one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from eightfold.bench.protocol import Run, run_times

__all__ = ["IN_FLIGHT", "Flight", "flight", "width"]

IN_FLIGHT = "EIGHTFOLD_IN_FLIGHT"
"""The environment variable that tells a peer's worker how many batches it runs at the same time; 1 by default."""


class Flight:
    """Runs that are made at the same time, by a thread each.

    A runtime that computes without Python's lock keeps all of them busy. Each takes longer than it would alone, since
    while it waits for its result the others are computed too; that wait is what a caller sees, and what `times` gives.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._pool = ThreadPoolExecutor(len(runs))

    def __call__(self) -> None:
        """One run of each."""
        for future in [self._pool.submit(run) for run in self._runs]:
            future.result()

    def times(self, seconds: float, least: int) -> list[list[float]]:
        """Keeps all of them busy for so many seconds, and for at least so many runs in all.

        Returns:
            For each that is in flight the seconds of its runs, one after the other.
        """
        share = -(-least // len(self._runs))
        lanes = [self._pool.submit(run_times, run, seconds, share) for run in self._runs]
        return [lane.result() for lane in lanes]


def flight(make: Callable[[], Run]) -> Run:
    """A run, or where several batches are to be in flight as many runs."""
    return make() if width() == 1 else Flight([make() for _ in range(width())])


def width() -> int:
    """How many batches this process is to run at the same time."""
    return int(os.environ.get(IN_FLIGHT) or 1)
