"""Observers that look at the smallest and the largest value of each batch only."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from eightfold.errors import DataError, RecipeError
from eightfold.graph.ranges import Range

__all__ = ["Encoding", "MinMaxObserver", "MovingAverageObserver", "within"]

Encoding: TypeAlias = Literal["affine", "symmetric"]
"""affine: 256 codes over [lo, hi]; symmetric: the codes -127..127 over [-magnitude, magnitude]."""


class MinMaxObserver:
    """From the smallest to the largest value seen; clips nothing.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018.
    """

    name: ClassVar[str] = "minmax"
    needs_histogram: ClassVar[bool] = False

    def __init__(self, *, encoding: Encoding = "affine") -> None:
        if encoding not in get_args(Encoding):
            raise RecipeError(f"encoding must be one of {get_args(Encoding)}, received {encoding!r}")
        self.encoding: Encoding = encoding
        self._seen: Range | None = None

    @property
    def seen(self) -> Range:
        """The smallest and the largest value seen.

        Raises:
            DataError: no batch has been seen.
        """
        if self._seen is None:
            raise DataError(f"the {self.name} observer needs at least one batch, received none")
        return self._seen

    def update(self, lo: float, hi: float) -> None:
        """Takes the smallest and the largest value of a batch.

        Raises:
            DataError: a value is NaN or infinite, or lo is above hi.
        """
        batch = Range(float(lo), float(hi))
        self._seen = batch if self._seen is None else self._seen.union(batch)

    def add_histogram(self, counts: npt.NDArray[np.integer[Any]]) -> None:
        """Ignored: this observer needs no histogram."""

    def range(self) -> Range:
        """All that was seen, and zero."""
        return self.seen.including_zero()


class MovingAverageObserver(MinMaxObserver):
    """Exponential moving averages of the batches' smallest and largest values.

        average[t] = momentum * average[t-1] + (1 - momentum) * batch[t],   average[0] = 0

    divided by 1 - momentum**t, so that the start at 0 does not pull a short calibration towards zero.

    Sources: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, section 3.1 (the averages); D. Kingma, J. Ba, "Adam: A
    Method for Stochastic Optimization", ICLR 2015, section 3 (the correction of the start).
    """

    name: ClassVar[str] = "moving-average"

    def __init__(self, *, momentum: float = 0.9, encoding: Encoding = "affine") -> None:
        super().__init__(encoding=encoding)
        if not 0 <= momentum < 1:
            raise RecipeError(f"momentum must be at least 0 and below 1, received {momentum!r}")
        self.momentum = momentum
        self._average = np.zeros(2)
        self._batches = 0

    def update(self, lo: float, hi: float) -> None:
        """Takes the smallest and the largest value of a batch."""
        super().update(lo, hi)
        self._average = self.momentum * self._average + (1 - self.momentum) * np.array([lo, hi], np.float64)
        self._batches += 1

    def range(self) -> Range:
        """The averages, and zero."""
        seen = self.seen
        average = self._average / (1 - self.momentum**self._batches)
        return within(seen, float(average[0]), float(average[1]))


def within(seen: Range, lo: float, hi: float) -> Range:
    """[lo, hi] cut to what was seen, with zero."""
    zero_and_seen = seen.including_zero()
    return Range(max(min(lo, 0.0), zero_and_seen.lo), min(max(hi, 0.0), zero_and_seen.hi))
