"""Turns in processes: what is started, what stays, what is said of a process that dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eightfold.bench.budget import Budget, BudgetSpent
from eightfold.running.settings import Runtime
from eightfold.tuning import processes
from eightfold.tuning.candidate import Candidate, Failure, Sample
from eightfold.tuning.processes import Processes

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_settings.py")))
Make = Callable[..., Path]


def candidate(intra: int = 1, batch_size: int = 1, instances: int = 1, **more: object) -> Candidate:
    return Candidate("fp32", Runtime(batch_size=batch_size, intra=intra, instances=instances, **more))  # type: ignore[arg-type]


def open_processes(model: Path, budget: float | None = None) -> Processes:
    paths = dict.fromkeys(("fp32", "bf16", "int8"), model)
    return Processes(paths, "serving_default", None, Budget(budget), STAND_IN)  # type: ignore[arg-type]


def lines(log: Path, word: str) -> int:
    return sum(line.startswith(word) for line in log.read_text().splitlines())


def test_a_turn_gives_the_figures_of_all_instances(model: Make, stand_in: Path) -> None:
    with open_processes(model()) as turns:
        outcomes = dict(turns([candidate(), candidate(instances=3)]))
    assert outcomes[candidate()] == Sample(pytest.approx(500), pytest.approx(2), pytest.approx(2), pytest.approx(2))  # type: ignore[arg-type]
    assert outcomes[candidate(instances=3)].images_per_second == pytest.approx(1500)  # type: ignore[union-attr]
    assert turns.versions == {"stand-in": "1.0"}
    assert turns.started == 2


def test_another_batch_size_needs_no_new_process(model: Make, stand_in: Path) -> None:
    wanted = [candidate(), candidate(batch_size=8), candidate(batch_size=32)]
    with open_processes(model()) as turns:
        first, second = dict(turns(wanted)), dict(turns(wanted))
        list(turns([candidate(batch_size=32)]))
    assert first == second
    assert first[candidate(batch_size=8)].p50_ms == pytest.approx(9)  # type: ignore[union-attr]
    assert lines(stand_in, "start") == 1
    assert lines(stand_in, "load") == 6  # the last round finds what it needs


def test_other_settings_need_a_new_process(model: Make, stand_in: Path) -> None:
    with open_processes(model()) as turns:
        list(turns([candidate(1), candidate(2), candidate(1, env={"A": "1"})]))
        list(turns([candidate(1), candidate(2)]))
    assert lines(stand_in, "start") == 3


def test_cores_are_those_of_the_settings(model: Make, stand_in: Path) -> None:
    with open_processes(model()) as turns:
        list(turns([candidate(cores=1)]))
    assert f"on [{min(os.sched_getaffinity(0))}]" in stand_in.read_text()


def test_a_process_that_dies_is_a_failed_trial(model: Make, stand_in: Path) -> None:
    with open_processes(model(kill="intra 2")) as turns:
        outcomes = dict(turns([candidate(2), candidate(1)]))
        again = dict(turns([candidate(1)]))
    failure = outcomes[candidate(2)]
    assert isinstance(failure, Failure)
    assert "was ended by signal 9" in failure.reason
    assert outcomes[candidate(1)] == again[candidate(1)]


def test_a_refusal_is_a_failed_trial_and_the_next_batch_is_not_mixed_up(model: Make, stand_in: Path) -> None:
    with open_processes(model(refuse=[8])) as turns:
        two = [candidate(instances=2), candidate(instances=2, batch_size=8), candidate(instances=2, batch_size=4)]
        outcomes = dict(turns(two))
    assert outcomes[two[1]] == Failure("fp32 cannot be measured: input 'x' takes batches of 1")
    assert lines(stand_in, "start") == 2  # who refuses lives on
    assert outcomes[two[2]].p50_ms == pytest.approx(5)  # type: ignore[union-attr]


def test_too_many_cores_are_a_failed_trial(model: Make, stand_in: Path) -> None:
    with open_processes(model()) as turns:
        ((_, outcome),) = turns([candidate(cores=4096)])
    assert isinstance(outcome, Failure)
    assert "4096 cores" in outcome.reason


def test_without_memory_for_all_they_come_one_after_the_other(
    model: Make, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_GUESS_MB", 30.0)
    monkeypatch.setattr(processes.Processes, "_free_mb", lambda self: 40.0 - 30.0 * len(self._running))
    with open_processes(model()) as turns:
        outcomes = dict(turns([candidate(1), candidate(2), candidate(3)]))
        assert len(turns._running) == 1
    assert all(isinstance(outcome, Sample) for outcome in outcomes.values())
    assert lines(stand_in, "start") == 3


def test_no_process_outlives_it(model: Make, stand_in: Path) -> None:
    with open_processes(model()) as turns:
        list(turns([candidate(1), candidate(2, instances=2)]))
        workers = [worker for one in turns._running.values() for worker in one._workers]
    assert len(workers) == 3
    assert not any(Path(f"/proc/{worker.pid}").exists() for worker in workers)


def test_a_spent_budget_leaves_two_to_compare(model: Make, stand_in: Path) -> None:
    with open_processes(model(), budget=1e-9) as turns:
        assert len([*turns([candidate(1)]), *turns([candidate(1)])]) == 2
        round_of_two = turns([candidate(2), candidate(3)])
        assert isinstance(next(round_of_two)[1], Sample)
        with pytest.raises(BudgetSpent):
            next(round_of_two)
