"""What is worth having where two things count: the values that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = ["frontier"]

T = TypeVar("T")


def frontier(values: Iterable[T], first: Callable[[T], Any], second: Callable[[T], Any]) -> list[T]:
    """The Pareto front; of both figures more is better.

    Returns:
        The best by the first figure, then ever worse ones by the first and better ones by the second.
    """
    found: list[T] = []
    for value in sorted(values, key=lambda one: (first(one), second(one)), reverse=True):
        if not found or second(value) > second(found[-1]):
            found.append(value)
    return found
