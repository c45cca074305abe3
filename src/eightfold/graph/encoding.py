"""What an 8-bit code stands for.

The kernels know no zero point: a scale comes from the largest absolute value of the range they are given, and code 0
is the number 0. Three codings follow from that:

    UNSIGNED   x = q · R/255,            q in 0..255       what comes out of a Relu
    OFFSET     x = (q - z) · R/255,      q in 0..255       any sign with all 8 bits; the kernels see q · R/255, and
                                                           producers and consumers absorb c = z · R/255 in their bias
    SIGNED     x = q · R/127,            q in -128..127    any sign where an offset is not allowed, as in a
                                                           convolution that pads with zeros
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, DType
from eightfold.graph.ranges import Range

__all__ = ["Code", "Encoding", "encoding_of"]

_NOTHING = 1e-30
"""Magnitude below which a step would vanish in the float32 arithmetic of the kernels."""


class Code(enum.Flag):
    """The codings; combined where several will do."""

    UNSIGNED = enum.auto()
    OFFSET = enum.auto()
    SIGNED = enum.auto()
    ANY = UNSIGNED | OFFSET | SIGNED
    BYTE = UNSIGNED | OFFSET
    """Either coding in `quint8`."""
    NONE = 0


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a float tensor is held in 8 bits.

    Attributes:
        code: one coding.
        limit: R above, in the tensor's unit.
        zero: the code that stands for 0; not 0 only for `Code.OFFSET`.
    """

    code: Code
    limit: float
    zero: int = 0

    @property
    def dtype(self) -> DType:
        return DType("qint8" if self.code is Code.SIGNED else "quint8")

    @property
    def steps(self) -> int:
        return 127 if self.code is Code.SIGNED else 255

    @property
    def step(self) -> float:
        """The difference between neighbouring codes, in the tensor's unit."""
        return self.limit / self.steps

    @property
    def offset(self) -> float:
        """What the kernels see too much: they take a code q for q · step."""
        return self.zero * self.step

    @property
    def range(self) -> Range:
        """The numbers that have a code."""
        if self.code is Code.SIGNED:
            return Range(-self.limit, self.limit)
        return Range(0.0 - self.offset, self.limit - self.offset)  # never -0.0

    @property
    def kernel_range(self) -> tuple[float, float]:
        """The minimum and maximum to hand to a kernel."""
        return (-self.limit if self.code is Code.SIGNED else 0.0, self.limit)

    def quantize(self, values: Array) -> Array:
        """Numbers as codes: uint8 or int8, rounded half to even, saturated."""
        codes = np.rint(np.asarray(values, np.float64) / self.step) + self.zero
        low = -128 if self.code is Code.SIGNED else 0
        result: Array = np.clip(codes, low, self.steps).astype(np.int8 if self.code is Code.SIGNED else np.uint8)
        return result

    def dequantize(self, codes: Array) -> Array:
        """Codes as float32 numbers."""
        values: Array = (codes.astype(np.float64) - self.zero) * self.step
        result: Array = values.astype(np.float32)
        return result

    def __str__(self) -> str:
        return f"{'s8' if self.code is Code.SIGNED else 'u8'}[{self.range.lo:.4g}, {self.range.hi:.4g}]"


def encoding_of(values: Range, code: Code) -> Encoding:
    """The finest encoding of one coding that covers a range.

    Args:
        values: the range; zero is added to it, since zero must have a code.
        code: one coding. `UNSIGNED` drops what is below zero.
    """
    values = values.including_zero()
    if values.magnitude < _NOTHING:
        values = Range(0.0, 0.0)
    if code is not Code.OFFSET:
        limit = values.magnitude if code is Code.SIGNED else values.hi
        return Encoding(code, limit or 1.0)
    if values.lo == values.hi:
        return Encoding(Code.OFFSET, 1.0)
    zero = round(-values.lo / (values.hi - values.lo) * 255)
    if values.lo < 0 < values.hi:
        zero = min(max(zero, 1), 254)
    below = -values.lo / zero if zero else 0.0
    above = values.hi / (255 - zero) if zero < 255 else 0.0
    return Encoding(Code.OFFSET, max(below, above) * 255, zero)
