"""Observers: from what a calibration has seen of one float tensor to the range that its codes will cover.

The graph reduces each batch itself, so that an observer never holds activations:
  pass 1 gives the smallest and the largest value of each batch (`update`),
  pass 2 gives a histogram of each batch over the range of pass 1 (`add_histogram`), to those that need it.
Every range contains zero, which padding and ReLU need, and never exceeds what was seen (and zero).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from eightfold.calibration.clipped import KLObserver, MSEObserver, PercentileObserver
from eightfold.calibration.extremes import Encoding, MinMaxObserver, MovingAverageObserver
from eightfold.errors import RecipeError
from eightfold.graph.ranges import Range

__all__ = [
    "OBSERVERS",
    "Encoding",
    "KLObserver",
    "MSEObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "Observer",
    "PercentileObserver",
    "did_you_mean",
    "make_observer",
]


class Observer(Protocol):
    """Collects the statistics of one tensor and gives its range."""

    name: ClassVar[str]
    needs_histogram: ClassVar[bool]

    @property
    def seen(self) -> Range:
        """The smallest and the largest value seen; after pass 1 the span of the histograms of pass 2."""

    def update(self, lo: float, hi: float) -> None:
        """Pass 1: takes the smallest and the largest value of a batch."""

    def add_histogram(self, counts: npt.NDArray[np.integer[Any]]) -> None:
        """Pass 2: takes int[BINS], the counts of a batch in equal bins over `seen`."""

    def range(self) -> Range:
        """The range to code, with zero inside."""


OBSERVERS: Mapping[str, type[MinMaxObserver]] = MappingProxyType(
    {kind.name: kind for kind in (MinMaxObserver, MovingAverageObserver, PercentileObserver, KLObserver, MSEObserver)}
)
"""The observers by the names that recipes and the command line use."""


def make_observer(name: str, **options: Any) -> Observer:
    """A fresh observer by name.

    Args:
        name: a key of `OBSERVERS`.
        options: `encoding` for any observer, `momentum` for moving-average, `percentile` for percentile.

    Raises:
        RecipeError: an unknown name or option, or a value that makes no sense.
    """
    kind = OBSERVERS.get(name)
    if kind is None:
        expected = ", ".join(OBSERVERS)
        raise RecipeError(f"unknown observer {name!r}: expected one of {expected}{did_you_mean(name, OBSERVERS)}")
    known = list(inspect.signature(kind).parameters)
    for option in options:
        if option not in known:
            raise RecipeError(
                f"unknown option {option!r} of the {name} observer: expected {' or '.join(known)}"
                f"{did_you_mean(option, known)}"
            )
    return kind(**options)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown name" message: `; did you mean 'kl'?`, or nothing if no known name is alike."""
    alike = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {alike[0]!r}?" if alike else ""
