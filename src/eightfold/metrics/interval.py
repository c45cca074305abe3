"""How sure a measured value is: 95 % confidence intervals, of one value and of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from eightfold.graph.ir import Array

__all__ = ["Interval", "around", "newcombe", "resamples", "standard_error", "wilson"]

Interval: TypeAlias = "tuple[float, float]"
"""The lower and the upper end."""

Z95 = 1.959963984540054
"""The normal distribution's 97.5 % point: both tails of a 95 % interval."""

RESAMPLES = 200
"""Enough for a standard error: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 6.4."""


def wilson(hits: int, n: int) -> Interval:
    """Wilson's score interval of a share, which stays inside 0..1 and holds for small samples.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA, 1927.
    """
    share, z2 = hits / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == n else min(1.0, centre + half)
    return low, high


def newcombe(both: int, first: int, second: int, neither: int) -> Interval:
    """The interval of the difference of two shares, first minus second, counted on the same examples.

    Made of the Wilson intervals of both shares and their correlation. Unlike McNemar's, it has a width where the two
    never differ: few examples prove little.

    Source: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 1998, method 10.

    Args:
        both: examples that are hits for both.
        first, second: examples that are hits for this one alone.
        neither: examples that are hits for none.
    """
    n = both + first + second + neither
    p, q = (both + first) / n, (both + second) / n
    (p_low, p_high), (q_low, q_high) = wilson(both + first, n), wilson(both + second, n)
    phi = _correlation(both, first, second, neither)
    down = _hypotenuse(p - p_low, q_high - q, phi)
    up = _hypotenuse(p_high - p, q - q_low, phi)
    return p - q - down, p - q + up


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Of hits and hits, with Newcombe's continuity correction; 0 where one of the two hits always or never."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    n, joint = both + first + second + neither, both * neither - first * second
    corrected = max(joint - n / 2, 0.0) if joint > 0 else joint
    return float(corrected / math.sqrt(margins))


def _hypotenuse(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))


def standard_error(deviations: Array) -> float:
    """Of a mean, from each example's deviation float[n] from it; infinite for a single example."""
    n = len(deviations)
    if n < 2:
        return math.inf
    return math.sqrt(float(np.square(deviations).sum()) / (n - 1) / n)


def around(value: float, error: float, low: float = -math.inf, high: float = math.inf) -> Interval:
    """The normal interval of a value with this standard error, cut to what the value can be."""
    return max(low, value - Z95 * error), min(high, value + Z95 * error)


def resamples(n: int) -> Iterator[Array]:
    """The bootstrap's samples of `n` examples with replacement, as how often each is drawn: int64[n].

    The same ones each time, so that two models are compared on the same samples.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", The Annals of Statistics 7, 1979.
    """
    rng = np.random.default_rng(n)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(0, n, n), minlength=n)
