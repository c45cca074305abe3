"""Conditions that several rewrites share; each answers `None`, or why not."""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Ref
from eightfold.graph.pattern import Match
from eightfold.rewrites.rewrite import Condition, Facts

__all__ = [
    "bias_per_channel",
    "channels_last",
    "finite_weight",
    "known_channels",
    "same_shape",
    "symmetric_strides",
    "ungrouped",
    "zero_floor",
]


def channels_last(match: Match, facts: Facts) -> str | None:
    """The kernels are used in NHWC only."""
    for name in match.nodes:
        layout = match.graph[name].attrs.get("data_format", b"NHWC")
        if layout != b"NHWC":
            return f"{name} has data format {layout.decode()}, expected NHWC"
    return None


def finite_weight(match: Match, facts: Facts) -> str | None:
    """NaN and Inf have no code."""
    for name in match.refs:
        value = match.graph.constant(match.refs[name])
        if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{match.refs[name]} has NaN or Inf"
    return None


def ungrouped(match: Match, facts: Facts) -> str | None:
    """The kernel of grouped convolutions fails."""
    channels = facts.shape(match.refs["x"])[3] if facts.rank(match.refs["x"]) == 4 else None
    expected = match.value("filter").shape[2]
    if channels is not None and channels != expected:
        return f"it is a grouped convolution ({channels} channels into a filter of {expected})"
    return None


def symmetric_strides(match: Match, facts: Facts) -> str | None:
    """Strides along batch or channels are not supported by any kernel."""
    strides = match.named["conv"].attrs["strides"]
    return None if strides[0] == strides[3] == 1 else f"strides {strides} reach over batch or channels"


def bias_per_channel(match: Match, facts: Facts) -> str | None:
    """A bias must be one number a channel."""
    bias = match.get("bias")
    if bias is None or bias.size == 1 or bias.shape[-1] == bias.size:
        return None
    return f"the bias has shape {bias.shape}, expected one number a channel"


def same_shape(*names: str) -> Condition:
    """Tensors that the kernel adds must have one shape: it does not broadcast."""

    def condition(match: Match, facts: Facts) -> str | None:
        refs: list[Ref] = [match.root, *(match.refs[name] for name in names)]
        shapes = [facts.shape(ref) for ref in refs]
        known = all(shape.known_rank for shape in shapes)
        equal = known and all(shape[1:] == shapes[0][1:] and len(shape) == 4 for shape in shapes)
        if equal and len({shape[0] == 1 for shape in shapes}) == 1:  # a single image would be added to each of a batch
            return None
        return f"it adds shapes {', '.join(str(tuple(s)) if s.known_rank else '?' for s in shapes[1:])}"

    return condition


def known_channels(match: Match, facts: Facts) -> str | None:
    """A rank of 4 and a known number of channels."""
    shape = facts.shape(match.root)
    if not shape.known_rank or len(shape) != 4:
        return "it is not a tensor of rank 4"
    return None if shape[3] is not None else "its number of channels is not known before the run"


def zero_floor(match: Match, facts: Facts) -> str | None:
    """A clip is a Relu only where its lower bound is zero."""
    floor = match.get("floor")
    if floor is not None and np.any(floor != 0):
        return f"it clips below at {float(floor.min())}, expected 0"
    cap = match.get("cap")
    return "it clips above at a different value for each channel" if cap is not None and cap.size > 1 else None
