"""What rounding does to the weight of a step: with one scale for all of it, and with one for each output channel."""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Array
from eightfold.graph.linear import linear_op
from eightfold.graph.ranges import Range
from eightfold.quantization.analysis import BARS, EXACT_DB, Distribution, WeightStats, decibels
from eightfold.quantization.plan import Plan, Step

__all__ = ["weight_stats"]

_SHOWN = 64
"""Channels whose limits are kept."""
_DRAWN = 1 << 18
"""Weights that the histogram counts; of more, evenly picked."""


def weight_stats(plan: Plan, step: Step, bits: int) -> WeightStats | None:
    """The weight of a step, or `None` where it multiplies by none.

    Args:
        plan: for what the recipe says of the step.
        step: one of the plan.
        bits: of the weights, 8 or 7.
    """
    for name in step.match.nodes:
        node = plan.graph[name]
        linear = linear_op(node)
        if linear is None:
            continue
        value = plan.graph.constant(node.inputs[linear.weight])
        if value is None or not value.size:
            continue
        others = tuple(axis for axis in range(value.ndim) if axis not in linear.out_axes)
        limits = np.abs(value).max(axis=others, keepdims=True).astype(np.float32)
        return WeightStats(
            values=_distribution(value),
            channels=limits.size,
            limits=_picked(limits),
            per_channel=plan.recipe.settings_for(node.name, node.op).per_channel,
            tensor_db=_rounded_db(value, limits.max(), others, bits),
            channel_db=_rounded_db(value, limits, others, bits),
        )
    return None


def _rounded_db(value: Array, limits: Array, others: tuple[int, ...], bits: int) -> float:
    """SQNR of a weight rounded to signed codes that reach up to the limits.

    Noise over signal is averaged over the channels: what a small channel loses would not be seen beside a large one,
    and what follows often makes up for the size.
    """
    step = np.where(limits > 0, limits, 1) / np.float32(2 ** (bits - 1) - 1)
    signal = np.square(value).sum(axis=others, dtype=np.float64)
    noise = np.square(np.rint(value / step) * step - value).sum(axis=others, dtype=np.float64)
    shares = noise[signal > 0] / signal[signal > 0]
    ratio = decibels(1.0, float(shares.mean())) if shares.size else None
    return EXACT_DB if ratio is None else ratio


def _picked(limits: Array) -> tuple[float, ...]:
    ordered = np.sort(limits.reshape(-1))[::-1]
    places = np.rint(np.linspace(0, ordered.size - 1, min(ordered.size, _SHOWN))).astype(int)
    return tuple(float(limit) for limit in ordered[places])


def _distribution(value: Array) -> Distribution:
    flat = value.reshape(-1)
    seen = Range(float(flat.min()), float(flat.max()))
    counts, _ = np.histogram(flat[:: -(-flat.size // _DRAWN)], BARS, (seen.lo, seen.hi))
    return Distribution.of(counts, seen)
