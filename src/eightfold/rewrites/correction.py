"""What calibration learned about the constants of one step: values that make up for what rounding takes away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from eightfold.graph.ir import Array

__all__ = ["Correction", "Corrections"]


@dataclass(frozen=True)
class Correction:
    """Other constants for one step; without any, it is written as its float weights and bias say.

    Attributes:
        codes: int8, in the shape of the weight (a matrix as [in, out]): rounded otherwise than to nearest, under the
            same limits.
        bias: float64 [C], in the unit of the result before its activation: what is added to the bias.
    """

    codes: Array | None = None
    bias: Array | None = None


Corrections: TypeAlias = Mapping[str, Correction]
"""Corrections by the name of the step, the node that computes its result."""
