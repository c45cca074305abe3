"""The search for the fastest candidate: a few races, each between candidates that differ in one kind of setting.

1. Forms of the model (fp32, bf16, int8), where there are several.
2. Places: instances and their cores; the best two go on.
3. Batch sizes of both. (With a limit on latency, 2 and 3 are one race: the limit decides which batch fits which place.)
4. Switches: each by itself on the best so far; then those that were worth something, together.
5. The best few and TensorFlow as it comes, until the winner is clear.

A process takes seconds to start, a turn half a second: so few processes are started, and each is asked often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eightfold.bench.budget import BudgetSpent
from eightfold.tuning.candidate import Aim, Candidate, Measure
from eightfold.tuning.race import LATE, Found, Races
from eightfold.tuning.space import Axis, Space
from eightfold.tuning.standing import Standing

__all__ = ["exhaustive", "searched"]

WORTH_IT = 0.01
"""What a switch must bring to be kept: for less, a default is not changed."""
BEAM = 2
"""How many go on from race to race."""

Tell = Callable[[int], None]


def searched(space: Space, aim: Aim, measure: Measure, tell: Tell = lambda _: None) -> Found:
    """The best of the space, in few turns.

    Args:
        space: what to search.
        aim: what is wanted.
        measure: gives turns. It may raise BudgetSpent, or KeyboardInterrupt: what was found so far is the result.
        tell: told the number of turns.
    """

    def search(races: Races) -> None:
        leaders = _placed(space, aim, races)
        if leaders and (leaders := _switched(leaders, space, races)):
            races.decide(leaders[: BEAM + 1], space.default.but(batch_size=leaders[0].runtime.batch_size))

    return _ended(search, aim, measure, tell)


def exhaustive(space: Space, aim: Aim, measure: Measure, tell: Tell = lambda _: None) -> Found:
    """The best of the space, with all turns for every candidate: what `searched` is compared with."""

    def search(races: Races) -> None:
        for one in space.everything():
            for _ in range(LATE):
                races.round([one])

    return _ended(search, aim, measure, tell)


def _ended(search: Callable[[Races], None], aim: Aim, measure: Measure, tell: Tell) -> Found:
    found = Found(Standing(aim))
    races = Races(found, measure, tell)
    try:
        search(races)
    except BudgetSpent:
        found.ended = "budget"
    except KeyboardInterrupt:
        found.ended = "interrupted"
    races.settle()
    return found


def _placed(space: Space, aim: Aim, races: Races) -> list[Candidate]:
    """The best two by form, place and batch size."""
    start = space.start
    if len(forms := space.variants(start)) > 1:
        start = next(iter(races.run(forms, keep=1)), start)
    seeds = space.places(start)
    if not aim.max_latency_ms:
        seeds = _first_that_run(seeds, space, races)
    return races.run([other for one in seeds for other in space.batches(one)], keep=BEAM)


def _first_that_run(seeds: Sequence[Candidate], space: Space, races: Races) -> list[Candidate]:
    """The best two, at the first batch size that the model takes: some are made for one only."""
    for batch in space.batches(space.start):
        size = batch.runtime.batch_size
        if best := races.run([seed.but(batch_size=size) for seed in seeds], keep=BEAM):
            return best
    return []


def _switched(leaders: Sequence[Candidate], space: Space, races: Races) -> list[Candidate]:
    """What switches make of the leaders, and what was best without that; empty where all leaders fail."""
    best = leaders[0]
    trials = [other for axis in space.switches for other in axis(best)[1:]]
    races.run([*leaders, *trials], keep=1, halve=False)
    leaders = [one for one in leaders if one not in races.found.failures]
    if best not in leaders:
        return leaders  # what the switches do was measured on one that cannot go on
    worth = {one: value for one, value in races.ranking.worth.items() if one not in races.found.failures}
    made, gains = list(leaders), []
    for axis in space.switches:
        winner = max((one for one in axis(best) if one in worth), key=lambda one: worth[one])
        if worth[winner] - worth[best] > WORTH_IT:
            gains.append(winner)
            made = [_switched_alike(axis, best, winner, one) for one in made]
    return list(dict.fromkeys([*made, *races.ranking.in_order([*leaders, *gains])]))


def _switched_alike(axis: Axis, before: Candidate, after: Candidate, other: Candidate) -> Candidate:
    """The other candidate with the setting of an axis changed as from `before` to `after`, where it has that value."""
    values = axis(other)
    place = axis(before).index(after)
    return values[place] if place < len(values) else other
