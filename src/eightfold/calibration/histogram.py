"""A histogram of one tensor: what the second pass of a calibration keeps of all its values.

Positions inside a histogram are measured in bins: 0 is the left edge of the first bin, `BINS` the right edge
of the last. The clipping searches work in that unit, so that they do not depend on the scale of the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from eightfold.errors import DataError
from eightfold.graph.ranges import Range

__all__ = ["BINS", "Floats", "Histogram"]

Floats: TypeAlias = npt.NDArray[np.float64]

BINS = 2048
"""Bins of every histogram: 8 to a step of an 8-bit code; the number of Migacz (2017)."""

_ROUNDING = 1e-6
"""Resampling moves fractions of values; less than this fraction of one value is a rounding error."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values fall into each of `BINS` equal bins of a range.

    Args:
        counts: float64[BINS], not negative; fractions are allowed (they come from resampling).
        span: the range that the bins divide; wider than a point.

    Raises:
        DataError: counts of another shape, negative or not finite counts, no value at all, or an empty span.
    """

    counts: Floats
    span: Range

    def __post_init__(self) -> None:
        if self.counts.shape != (BINS,):
            raise DataError(f"a histogram must have {BINS} bins, received shape {self.counts.shape}")
        if not (np.isfinite(self.counts).all() and self.counts.min() >= 0 and self.counts.sum() > 0):
            raise DataError("a histogram must hold at least one value and no negative or non-finite count")
        if not self.span.hi > self.span.lo:
            raise DataError(f"a histogram must span more than one point, received {self.span}")

    @cached_property
    def cumulative(self) -> Floats:
        """float64[BINS + 1]: the number of values left of each bin edge."""
        return np.concatenate(([0.0], np.cumsum(self.counts)))

    @property
    def zero(self) -> float:
        """The position of the value 0, in bins; outside [0, BINS] if the span does not contain it."""
        return -self.span.lo / (self.span.hi - self.span.lo) * BINS

    def value(self, position: float) -> float:
        """The tensor value at a position; exact at both ends of the span."""
        share = position / BINS
        return self.span.lo * (1.0 - share) + self.span.hi * share

    def quantile(self, share: float) -> float:
        """The value below which a share (0 to 1) of all values lies, interpolated inside its bin."""
        filled = np.flatnonzero(self.counts)
        below = self.cumulative[filled + 1]
        target = share * below[-1]
        index = filled[min(int(np.searchsorted(below, target)), filled.size - 1)]
        inside = (target - self.cumulative[index]) / self.counts[index]
        return self.value(float(index + np.clip(inside, 0.0, 1.0)))

    def including_zero(self) -> Histogram:
        """The same values over a span that contains zero; values count as spread evenly in their bin."""
        if 0.0 <= self.zero <= BINS:
            return self
        edges = np.linspace(min(0.0, self.zero), max(float(BINS), self.zero), BINS + 1)
        return Histogram(_differences(self._left_of(edges)), self.span.including_zero())

    def magnitudes(self) -> Histogram:
        """The histogram of |x| over [0, largest |x|]; values count as spread evenly in their bin."""
        reach = np.linspace(0.0, max(abs(self.zero), abs(BINS - self.zero)), BINS + 1)
        inside = self._left_of(self.zero + reach) - self._left_of(self.zero - reach)
        return Histogram(_differences(inside), Range(0.0, self.span.magnitude))

    def split_zero_spike(self) -> tuple[Floats, float]:
        """The counts without the excess at zero over the bins beside it, and that excess.

        ReLU, padding and dropped inputs put a point mass at exactly 0. It says nothing of how the other
        values are spread. Zero may lie on an edge of two bins: then both are levelled.
        """
        body = self.counts.copy()
        first, last = (int(np.floor(np.clip(self.zero + d, 0, BINS - 1))) for d in (-0.01, 0.01))
        beside = [body[i] for i in (first - 1, last + 1) if 0 <= i < BINS]
        body[first : last + 1] = np.minimum(body[first : last + 1], max(beside))
        return body, float(self.counts.sum() - body.sum())

    def _left_of(self, positions: Floats) -> Floats:
        return np.interp(positions, np.arange(BINS + 1), self.cumulative)


def _differences(cumulative: Floats) -> Floats:
    counts = np.diff(cumulative)
    return np.where(counts < _ROUNDING, 0.0, counts)
