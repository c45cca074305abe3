"""The search on machines that exist in numbers only: it finds what is best, in few turns, whatever disturbs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from simulated import LOAD, START, TURN, Machine, cores

from eightfold.bench.budget import BudgetSpent
from eightfold.running.settings import Mode
from eightfold.tuning.candidate import Aim, Candidate, Failure, Outcome
from eightfold.tuning.race import LATE, Found
from eightfold.tuning.search import exhaustive, searched
from eightfold.tuning.space import Space, space_of

ALLOCATORS = ("system", "tcmalloc", "jemalloc")


def space(mode: Mode, count: int, **more: object) -> Space:
    return space_of(mode, cores(count), **{"allocators": ALLOCATORS, **more})  # type: ignore[arg-type]


def worth(machine: Machine, mode: Mode, one: Candidate) -> float:
    """The truth, without noise."""
    return machine.rate(one) if mode == "throughput" else 1 / machine.latency(one)


def best_of(found: Found) -> Candidate:
    assert found.best is not None
    return found.best


def share_of_best(machine: Machine, searched_space: Space, mode: Mode, found: Found) -> float:
    most = max(worth(machine, mode, one) for one in searched_space.everything())
    return worth(machine, mode, best_of(found)) / most


def cost_of_all(searched_space: Space) -> float:
    """Seconds that `exhaustive` takes on a simulated machine: test_what_trying_all_costs says that this is so."""
    every = searched_space.everything()
    processes = len({one.process for one in every})
    return START * processes + LOAD * (len(every) - processes) + LATE * TURN * len(every)


@pytest.mark.parametrize("count", [2, 8, 64])
@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_within_5_percent_of_the_best_in_a_fifth_of_the_time(mode: Mode, count: int) -> None:
    """Noise, drift, a neighbour that comes and goes, and turns that take up to three times as long."""
    searched_space, shares = space(mode, count), []
    for seed in range(40):
        machine = Machine(seed, count)
        shares.append(share_of_best(machine, searched_space, mode, searched(searched_space, Aim(mode), machine)))
        assert machine.seconds <= cost_of_all(searched_space) / 5
    assert sum(share >= 0.95 for share in shares) >= 37, sorted(shares)[:5]
    assert min(shares) >= 0.8


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_on_a_machine_that_only_drifts_it_never_misses(mode: Mode) -> None:
    searched_space = space(mode, 4)
    for seed in range(30):
        machine = Machine(seed, 4, outliers=0, noise=0.01)
        assert share_of_best(machine, searched_space, mode, searched(searched_space, Aim(mode), machine)) >= 0.95


def test_what_trying_all_costs() -> None:
    searched_space = space("latency", 2)
    machine = Machine(0, 2, drift=0, outliers=0)
    found = exhaustive(searched_space, Aim("latency"), machine)
    assert machine.seconds == pytest.approx(cost_of_all(searched_space))
    assert len(found.standing.samples) == len(searched_space.everything())
    assert share_of_best(machine, searched_space, "latency", found) >= 0.97


def test_a_tie_ends_early() -> None:
    """Where no setting matters, the last race ends when that is clear: after 5 of 9 turns on a quiet machine."""
    machine = Machine(1, 2, alike=True, noise=0.005, outliers=0)
    found = searched(space("throughput", 2), Aim("throughput"), machine)
    assert found.ended == "tie"
    assert machine.turns < 80


def test_a_clear_winner_ends_it() -> None:
    found = searched(space("latency", 2), Aim("latency"), Machine(2, 2, noise=0.002, outliers=0))
    assert found.ended == "clear"


def test_the_form_of_the_model_is_chosen_first() -> None:
    forms = space("throughput", 2, variants=("fp32", "int8"))
    machine = Machine(3, 2)
    found = searched(forms, Aim("throughput"), machine)
    assert best_of(found).variant == "int8"
    slow = [one for one in found.standing.samples if one.variant == "fp32"]
    assert len(slow) <= 3  # at the start, and as TensorFlow comes


def test_a_limit_on_latency_is_kept() -> None:
    """Of what keeps to it, the fastest."""
    limited, limit, good = space("throughput", 4), 80.0, 0
    for seed in range(20):
        machine = Machine(seed, 4, drift=0, outliers=0)
        best = best_of(searched(limited, Aim("throughput", limit), machine))
        within = [one for one in limited.everything() if 1.1 * machine.latency(one) <= limit]
        if within:
            assert 1.1 * machine.latency(best) <= 1.05 * limit
            good += machine.rate(best) >= 0.95 * max(map(machine.rate, within))
        else:
            assert machine.latency(best) <= 1.05 * min(map(machine.latency, limited.everything()))
            good += 1
    assert good >= 17


class Ending(Machine):
    """A machine whose user loses patience after some turns."""

    turns_left: int = 20
    how: type[BaseException] = BudgetSpent

    def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        for pair in super().__call__(candidates):
            if self.turns > self.turns_left:
                raise self.how
            yield pair


@pytest.mark.parametrize(("how", "said"), [(BudgetSpent, "budget"), (KeyboardInterrupt, "interrupted")])
def test_it_can_be_broken_off_at_any_turn(how: type[BaseException], said: str) -> None:
    for turns in (1, 2, 7, 30, 50):
        machine = Ending(5, 2)
        machine.turns_left, machine.how = turns, how
        found = searched(space("throughput", 2), Aim("throughput"), machine)
        assert found.ended == said
        assert best_of(found) in found.standing.samples
        assert sum(map(len, found.standing.samples.values())) == turns


def test_broken_off_before_the_first_turn_there_is_no_best() -> None:
    machine = Ending(5, 2)
    machine.turns_left = 0
    assert searched(space("latency", 2), Aim("latency"), machine).best is None


class Broken(Machine):
    """A machine on which some candidates cannot run."""

    def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        for one, outcome in super().__call__(candidates):
            broken = one.runtime.allocator == "tcmalloc" and one.runtime.instances == 1
            yield one, Failure("it died") if broken or one.runtime.batch_size != 1 else outcome


def test_what_fails_is_left_out() -> None:
    """Also the settings that the search would begin with, and all batch sizes but one."""
    machine = Broken(6, 4, outliers=0)
    searched_space = space("throughput", 4)
    found = searched(searched_space, Aim("throughput"), machine)
    assert best_of(found).runtime.batch_size == 1
    assert {failure.reason for failure in found.failures.values()} == {"it died"}
    assert not set(found.failures) & set(found.standing.samples)


@pytest.mark.parametrize("lost", [1, 2])
def test_leaders_that_fail_in_the_race_of_switches(lost: int) -> None:
    """A process that dies late takes its candidate out, whatever it had reached."""
    broken: set[Candidate] = set()
    seen: set[Candidate] = set()

    class Late(Machine):
        def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
            order = candidates if candidates and candidates[0] in seen else candidates[::-1]  # there and back
            if not broken and any(one.runtime.allocator == "jemalloc" for one in candidates):
                broken.update([one for one in order if one in seen][:lost])  # the leaders: the others are new
            for one, outcome in super().__call__(candidates):
                seen.add(one)
                yield one, Failure("it died") if one in broken else outcome

    found = searched(space("throughput", 4), Aim("throughput"), Late(7, 4, outliers=0))
    assert len(broken) == lost
    assert set(found.failures) == broken
    assert best_of(found) not in broken


def test_where_nothing_runs_there_is_no_best() -> None:
    class Dead(Machine):
        def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
            return ((one, Failure("it died")) for one in candidates)

    found = searched(space("throughput", 2), Aim("throughput"), Dead(0))
    assert found.best is None
    assert found.failures
