"""How long a worker that lives may keep the others waiting."""

from __future__ import annotations

import math
import time

__all__ = ["LEAST", "Pace"]

LEAST = 120.0
"""Seconds that every worker has, however fast the steps are."""
TIMES = 10
"""How many times as long as the slowest step so far it may take."""


class Pace:
    """Follows the steps of one worker.

    There is no limit before the first step is made: data is read and programs are compiled, which takes as long as it
    takes. That step counts, with its compiling; what is compiled later is seldom slower.

    Args:
        least: see `LEAST`.

    Attributes:
        slowest: seconds between two exchanges, waiting for others included, since the first step began.
    """

    def __init__(self, least: float = LEAST) -> None:
        self._least = least
        self._last = time.monotonic()
        self._begun = False
        self.slowest = 0.0

    def met(self, *, adding: bool) -> None:
        """All workers have met.

        Args:
            adding: for a sum of gradients.
        """
        now = time.monotonic()
        self._begun |= adding
        if self._begun:
            self.slowest = max(self.slowest, now - self._last)
        self._last = now

    @property
    def limit(self) -> float:
        """In seconds; infinite before the first step was made."""
        return max(self._least, TIMES * self.slowest) if self._begun else math.inf
