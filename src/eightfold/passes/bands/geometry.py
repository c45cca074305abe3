"""How rows and channels are shared out, and which rows of an input some rows of a result need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.reference.window import Window
from eightfold.passes.bands.operands import PADS, window

__all__ = ["Need", "Size", "Span", "needed", "shares", "tile"]

Size: TypeAlias = tuple[int, int, int]
"""Height, width and channels of an image."""

Span: TypeAlias = tuple[int, int]
"""Indices from the first up to, but not including, the last."""


@dataclass(frozen=True, slots=True)
class Need:
    """Rows of an input.

    Attributes:
        first, last: the rows [first, last).
        above, below: rows of padding around them.
        slack: so many rows more below them would change nothing: a stride does not reach them.
    """

    first: int
    last: int
    above: int = 0
    below: int = 0
    slack: int = 0


def shares(length: int, count: int) -> tuple[Span, ...]:
    """Parts as equal as whole numbers allow."""
    edges = [-(-length * k // count) for k in range(count + 1)]
    return tuple(pairwise(edges))


def tile(spans: tuple[Span, ...], length: int) -> bool:
    """Whether spans follow each other from 0 to the length without gap or overlap."""
    edges = [0, *(last for _, last in spans)]
    return edges[-1] == length and all(first == edge for (first, _), edge in zip(spans, edges, strict=False))


def needed(graph: Graph, sizes: Mapping[Ref, Size], node: Node, position: int, span: Span) -> Need:
    """What some rows of a node's result need of the image at an input position.

    Args:
        sizes: of the images of the graph.
        span: of rows of the result.
    """
    height, width, _ = sizes[node.inputs[position]]
    if position == 0 and (slides := window(graph, node)) is not None:
        return _under_window(slides, height, width, span)
    if position == 0 and node.op in PADS:
        paddings = graph.constant(node.inputs[1])
        assert paddings is not None  # the plan saw to that
        return _within(span[0] - int(paddings[1][0]), span[1] - int(paddings[1][0]), height)
    return Need(*span)


def _under_window(slides: Window, height: int, width: int, span: Span) -> Need:
    (top, _), _ = slides.pads(height, width)
    stride = slides.stride[0]
    reach = (slides.size[0] - 1) * slides.dilation[0] + 1
    return _within(span[0] * stride - top, (span[1] - 1) * stride - top + reach, height, stride - 1)


def _within(start: int, stop: int, height: int, slack: int = 0) -> Need:
    """The rows [start, stop) of an image that goes on with padding above and below."""
    first, last = (min(max(row, 0), height) for row in (start, stop))
    above, below = max(0, -start), max(0, stop - height)
    return Need(first, last, above, below, 0 if below else slack)
