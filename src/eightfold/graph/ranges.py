"""The range of a float tensor: what its 8-bit codes will have to cover."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from eightfold.errors import DataError

__all__ = ["Range"]


@dataclass(frozen=True, slots=True)
class Range:
    """The closed interval [lo, hi] of the values of a float tensor, in the tensor's own unit.

    Attributes:
        lo, hi: the bounds.
        below_zero: the mean over all values of min(x, 0)², the squared error of clipping at zero; `None` where it is
            not known. It does not count in comparisons.

    Raises:
        DataError: a bound is NaN or infinite, or lo is above hi.
    """

    lo: float
    hi: float
    below_zero: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lo) and math.isfinite(self.hi)):
            raise DataError(f"a range must have finite bounds, received [{self.lo}, {self.hi}]")
        if self.lo > self.hi:
            raise DataError(f"a range must have its lower bound first, received [{self.lo}, {self.hi}]")

    @property
    def magnitude(self) -> float:
        """The largest absolute value inside."""
        return max(abs(self.lo), abs(self.hi))

    @property
    def signed(self) -> bool:
        """Whether there are negative values inside."""
        return self.lo < 0

    def including_zero(self) -> Range:
        """The smallest range that covers this one and zero."""
        return replace(self, lo=min(self.lo, 0.0), hi=max(self.hi, 0.0))

    def union(self, other: Range) -> Range:
        """The smallest range that covers both; below zero, the worse of the two."""
        parts = [0.0 if part.lo >= 0 else part.below_zero for part in (self, other)]
        known = [part for part in parts if part is not None]
        below_zero = max(known) if len(known) == len(parts) else None
        return Range(min(self.lo, other.lo), max(self.hi, other.hi), below_zero)
