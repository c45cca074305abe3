"""How long a search may take."""

from __future__ import annotations

import re
import time

from eightfold.errors import RecipeError

__all__ = ["Budget", "BudgetSpent", "seconds_of"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


class BudgetSpent(Exception):
    """The time is over: the best so far is the answer."""


def seconds_of(text: str | float) -> float:
    """A length of time such as `30m`, `1.5h`, `90s` or `90` (seconds), in seconds.

    Raises:
        RecipeError: it cannot be read, or is not more than zero.
    """
    found = _FORM.fullmatch(text.lower()) if isinstance(text, str) else None
    if found is not None and found[2] in _UNITS:
        text = float(found[1]) * _UNITS[found[2]]
    if isinstance(text, str) or not text > 0:
        raise RecipeError(f"a budget is a length of time such as 30m, 1.5h or 90s, not {text!r}")
    return text


class Budget:
    """Counts from when it is made.

    Args:
        seconds: how long; `None` for as long as it takes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Raises `BudgetSpent` when the time is over."""
        if self._end is not None and time.monotonic() >= self._end:
            raise BudgetSpent
