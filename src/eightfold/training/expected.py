"""Refuses values that make no sense: what is wrong, what was expected, what was received."""

from __future__ import annotations

import math

from eightfold.errors import RecipeError

__all__ = ["expect", "is_number", "is_whole"]


def expect(name: str, value: object, expected: str, holds: bool) -> None:
    """Raises: RecipeError where it does not hold."""
    if not holds:
        raise RecipeError(f"{name} must be {expected}, received {value!r}")


def is_whole(value: object, least: int) -> bool:
    """Whether it is a whole number, and no smaller than `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
