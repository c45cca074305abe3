"""Writes nodes for some rows of their results.

x ─ Conv3x3 SAME      =>   rows 0..28 of x ─ Conv3x3 padded above     (rows 0..27)
                           rows 27..55 of x ─ Conv3x3 padded below    (rows 28..55)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eightfold.graph.ir import Array, Attr, Node, Ref
from eightfold.passes.bands.geometry import Need, Span, needed
from eightfold.passes.bands.operands import CONVOLUTIONS, PADS, POOLS, images_read, window
from eightfold.passes.bands.parts import INT32, Parts

__all__ = ["row_band"]


def row_band(parts: Parts, node: Node, part: int, span: Span, control: Sequence[str]) -> Ref:
    """Writes the node of one part, and returns its rows `span` of the result."""
    inputs, attrs = list(node.inputs), dict(node.attrs)
    needs = {position: needed(parts.graph, parts.sizes, node, position, span) for position in images_read(node)}
    for position, rows in needs.items():
        inputs[position] = parts.rows(node.inputs[position], part, rows)
    need = needs[0]
    if node.op in CONVOLUTIONS:
        attrs |= _padding(parts, node, need)
    elif node.op in PADS:
        inputs[1], attrs["Tpaddings"] = parts.constant(_paddings(parts, node, need)), INT32
    elif node.op == "Reshape":
        inputs[1], attrs["Tshape"] = parts.constant(_target(parts, node, span)), INT32
    ref = parts.compute(node, part, inputs, attrs, control)
    return _inner(parts, node, ref, need, span) if node.op in POOLS else ref


def _padding(parts: Parts, node: Node, need: Need) -> dict[str, Attr]:
    slides = window(parts.graph, node)
    assert slides is not None  # the plan saw to that
    height, width, _ = parts.sizes[node.inputs[0]]
    _, (left, right) = slides.pads(height, width)
    pads = (0, 0, need.above, need.below, left, right, 0, 0)
    if any(pads):
        return {"padding": b"EXPLICIT", "explicit_paddings": pads}
    return {"padding": b"VALID", "explicit_paddings": ()}


def _paddings(parts: Parts, node: Node, need: Need) -> Array:
    paddings = np.array(parts.graph.constant(node.inputs[1]))
    paddings[1] = need.above, need.below
    return paddings


def _target(parts: Parts, node: Node, span: Span) -> Array:
    target = np.array(parts.graph.constant(node.inputs[1]))
    target[1] = span[1] - span[0]
    return target


def _inner(parts: Parts, node: Node, ref: Ref, need: Need, span: Span) -> Ref:
    """The rows asked for of a pool.

    With SAME it pads each band as if this were the image: the rows at its inner edges see padding in place of
    neighbours, and an average leaves that out of its count. They lie beyond the rows asked for.
    """
    slides = window(parts.graph, node)
    assert slides is not None  # the plan saw to that
    if slides.padding != "SAME" or (need.first, need.last) == span:
        return ref
    return parts.inner_rows(ref, (span[0] - need.first, span[1] - need.first), node.ref)
