"""Candidates take turns, round after round, and those that fall behind leave.

Successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization",
2016), with turns in place of training steps: the hopeless leave after two rounds, the slower half after the third and
later ones, and who is slower beyond doubt after the fifth. What counts are differences inside rounds: see `standing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eightfold.tuning.candidate import Candidate, Failure, Measure
from eightfold.tuning.standing import Ranking, Standing

__all__ = ["Ended", "Found", "Races"]

HOPELESS = math.log(1.5)
"""So far behind in two turns, nobody stays."""
CLOSE = 0.03
"""No more than so much may be lost by ending a race."""
EARLY, LATE = 4, 9
"""Turns of a candidate in a race of the search, and in the last one."""
SPREAD = 5
"""Turns after which a median is trusted, though two of them were disturbed; the last race has at least as many."""

Ended = Literal["clear", "tie", "rounds", "budget", "interrupted"]


@dataclass
class Found:
    """What a search found out.

    Attributes:
        standing: all turns.
        failures: the candidates that could not be measured.
        best: the best so far; None where nothing was measured. It was first in the last race that had at least two
            rounds.
        ended: why it ended: the winner was `clear`, or no more than 3 % better than the next (`tie`), or every turn
            was spent (`rounds`), or the `budget`, or Ctrl-C (`interrupted`).
    """

    standing: Standing
    failures: dict[Candidate, Failure] = field(default_factory=dict)
    best: Candidate | None = None
    ended: Ended = "rounds"


class Races:
    """The races of one search.

    Args:
        found: where turns and failures are kept.
        measure: gives turns.
        tell: told the number of turns.
    """

    def __init__(self, found: Found, measure: Measure, tell: Callable[[int], None]) -> None:
        self.found, self._measure, self._tell = found, measure, tell
        self._rounds = self._turns = self._began = 0

    def round(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """A turn for each candidate; returns those that have not failed."""
        number, self._rounds = self._rounds, self._rounds + 1
        waiting = [one for one in candidates if one not in self.found.failures]
        if number % 2:
            waiting.reverse()  # there and back: a machine that gets slower steadily favours nobody
        for one, outcome in self._measure(waiting) if waiting else ():
            if isinstance(outcome, Failure):
                self.found.failures[one] = outcome
            else:
                self.found.standing.add(number, one, outcome)
            self._turns += 1
            self._tell(self._turns)
        return [one for one in waiting if one not in self.found.failures]

    def run(self, candidates: Sequence[Candidate], keep: int, *, halve: bool = True) -> list[Candidate]:
        """A race.

        Args:
            candidates: who takes part.
            keep: how many go on to what comes next; they leave only where they are hopeless.
            halve: whether the slower half leaves where nothing is certain.

        Returns:
            The best so many, the best first; fewer where others failed or are hopeless.
        """
        self._began, alive = self._rounds, list(dict.fromkeys(candidates))
        for turn in range(1, EARLY + 1):
            alive = self._after_cut(self.round(alive), turn, keep, halve=halve)
            if turn > 2 and len(alive) <= keep:
                break
        return alive[:keep]

    def decide(self, finalists: Sequence[Candidate], reference: Candidate) -> None:
        """The last race; the reference takes part to its end."""
        self._began, alive = self._rounds, list(dict.fromkeys([*finalists, reference]))
        for turn in range(1, LATE + 1):
            ran = self.round(list(dict.fromkeys([*alive, reference])))
            alive = self._after_cut([one for one in alive if one in ran], turn, 1, halve=False)
            if turn < SPREAD:
                continue
            if len(alive) <= 1:
                self.found.ended = "clear"
                return
            if self._nothing_to_gain(alive):
                self.found.ended = "tie"
                return

    def settle(self) -> None:
        """Names the best where the first race was broken off before anybody led it."""
        if self.found.best is None and self.found.standing.samples:
            ranking = self.found.standing.ranking()
            self.found.best = self._allowed(ranking.in_order(ranking.worth))

    @property
    def ranking(self) -> Ranking:
        """Where the candidates of this race stand now."""
        return self.found.standing.ranking(self._began)

    def _after_cut(self, alive: list[Candidate], turn: int, keep: int, *, halve: bool) -> list[Candidate]:
        """Who stays after so many turns in this race, the best first."""
        if not alive:
            return []
        ranking = self.ranking
        order = ranking.in_order(alive)
        if turn > 1:
            self.found.best = self._allowed(order)
        stay = [one for place, one in enumerate(order) if _stays(one, order[0], ranking, turn, safe=place < keep)]
        return stay[: max(keep, math.ceil(len(alive) / 2))] if halve and turn > 2 else stay

    def _allowed(self, order: Sequence[Candidate]) -> Candidate:
        """The best that keeps to the limit on latency; where none does, the one that misses it least."""
        excess = self.found.standing.excess
        return next((one for one in order if excess(one) <= 1), min(order, key=excess))

    def _nothing_to_gain(self, alive: Sequence[Candidate]) -> bool:
        """Whether none of the others can be better than the leader by more than what counts."""
        ranking = self.ranking
        leader, *others = ranking.in_order(alive)
        worth = ranking.worth
        return all(worth[one] + ranking.doubt(leader, one) - worth[leader] <= CLOSE for one in others)


def _stays(one: Candidate, leader: Candidate, ranking: Ranking, turn: int, *, safe: bool) -> bool:
    """Whether a candidate is not too far behind."""
    if turn == 1:
        return True  # something else may have run just then
    behind = ranking.worth[leader] - ranking.worth[one]
    return behind <= (HOPELESS if turn < SPREAD or safe else min(HOPELESS, ranking.doubt(leader, one)))
