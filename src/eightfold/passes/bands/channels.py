"""Writes nodes for some channels of their results.

x ─ Conv(w)      =>   x ─┬ Conv(w[..., :256])
                         └ Conv(w[..., 256:])
"""

from __future__ import annotations

from collections.abc import Sequence

from eightfold.graph.ir import Node, Ref
from eightfold.passes.bands.geometry import Span
from eightfold.passes.bands.operands import CONVOLUTIONS, channel_constants, images_read
from eightfold.passes.bands.parts import Parts
from eightfold.rewrites.kernels import CONV

__all__ = ["channel_band"]


def channel_band(parts: Parts, node: Node, part: int, span: Span, control: Sequence[str]) -> Ref:
    """Writes the node of one part, and returns its channels `span` of the result."""
    inputs = list(node.inputs)
    for position in images_read(node):
        if position or node.op != CONV:  # whose filters read all channels
            inputs[position] = parts.channels(node.inputs[position], part, span)
    if node.op in CONVOLUTIONS:
        for position, axis in channel_constants(node).items():
            inputs[position] = parts.share(node.inputs[position], axis, span)
    return parts.compute(node, part, inputs, node.attrs, control)
