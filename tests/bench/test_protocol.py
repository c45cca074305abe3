from __future__ import annotations

import time

import pytest

from eightfold.bench import protocol
from eightfold.bench.protocol import Job, lane_times, peak_memory_mb, run_times, warm_up


def test_runs_at_least_so_often_and_at_least_so_long() -> None:
    assert len(run_times(lambda: None, 0, 7)) == 7
    times = run_times(lambda: time.sleep(0.002), 0.02, 1)
    assert sum(times) >= 0.02
    assert min(times) >= 0.002
    assert list(map(len, lane_times(lambda: None, 0, 7))) == [7]


class Clock:
    """In place of the module `time`: it moves only when somebody sleeps, whatever else the machine does."""

    def __init__(self) -> None:
        self._now = 0.0

    def perf_counter(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def test_warm_up_ends_when_times_are_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(protocol, "time", clock)
    pending = [0.02, 0.016, 0.012, 0.008, 0.004]  # what is being optimised at first gets faster
    runs, best = warm_up(lambda: clock.sleep(pending.pop(0) if pending else 0.002), limit=5, block=1)
    assert best == pytest.approx(0.002)
    assert runs == 7


def test_warm_up_ends_at_its_limit() -> None:
    runs, best = warm_up(lambda: time.sleep(0.01), limit=0)
    assert runs == 1
    assert best >= 0.01


def test_peak_memory_sees_an_allocation() -> None:
    before = peak_memory_mb()
    held = bytearray(b"x") * 80_000_000
    assert peak_memory_mb() >= max(before, len(held) / 1e6)


def test_a_job_travels_as_a_request() -> None:
    request = Job("m", 32, intra=2).request()
    assert request.pop("do") == "load"
    assert Job(**request) == Job("m", 32, intra=2)
