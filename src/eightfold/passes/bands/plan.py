"""Decides which tensors are computed in bands, and where each is cut.

x ─ Quantize ─ Conv 112x112 ─ Pad ─ MaxPool 56x56 ─ ... ─ Conv 14x14 ─ ... ─ Conv 7x7 ─ Mean
    └─ rows ───────────────────────────────────────┘      └─ channels ─────────────┘    whole
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eightfold.graph.ir import Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.bands.eligible import FOLLOWERS, has_channel_bands, has_row_bands
from eightfold.passes.bands.geometry import Need, Size, Span, needed, shares
from eightfold.passes.bands.operands import CONVOLUTIONS, images_read
from eightfold.rewrites.kernels import CONV

__all__ = ["CHANNELS", "CHANNELS_FROM", "ROWS", "ROWS_FROM", "Cut", "planned"]

ROWS, CHANNELS = 1, 3
"""Axes of [N, H, W, C]."""

ROWS_FROM = 28
"""The smallest height that is cut in rows. Each band of rows reads all weights, of which smaller images have more, and
takes rows from its neighbours. ResNet-50 with two bands takes 5.44 ms with 28 and 5.55 ms with 14."""

CHANNELS_FROM = 7
"""The smallest height, below that, of an image that is cut in channels. ResNet-50 takes 5.44 ms with 7 and 5.48 ms with
1, where what follows its global average is cut as well."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The bands of a tensor: spans of one axis, one for each part. Those of rows may overlap."""

    axis: int
    bands: tuple[Span, ...]


def planned(
    model: Model, sizes: Mapping[Ref, Size], count: int, rows_from: int = ROWS_FROM, channels_from: int = CHANNELS_FROM
) -> dict[Ref, Cut]:
    """The tensors that are computed in bands; empty where none comes from a fused convolution.

    Args:
        model: in 8 bits.
        sizes: of its images.
        count: the number of bands.
        rows_from: the smallest height that is cut in rows.
        channels_from: the smallest height below that of what is cut in channels.
    """
    plan = _Plan(model, sizes, count)
    plan.choose(rows_from, channels_from)
    convolutions = any(model.graph[ref].op in CONVOLUTIONS for ref in plan.cuts)
    return plan.cuts if convolutions else {}


class _Plan:
    def __init__(self, model: Model, sizes: Mapping[Ref, Size], count: int) -> None:
        self._graph, self._outputs = model.graph, set(model.outputs)
        self._sizes, self._count = sizes, count
        self._axes: dict[Ref, int] = {}
        self.cuts: dict[Ref, Cut] = {}

    def choose(self, rows_from: int, channels_from: int) -> None:
        """Axes from the inputs on; bands from the outputs back, since what moves rows gives what its readers need."""
        for node in self._graph:
            axis = self._axis(node, rows_from, channels_from)
            if axis is not None:
                self._axes[node.ref] = axis
        for node in reversed(list(self._graph)):
            axis = self._axes.get(node.ref)
            bands = self._bands(node, axis) if axis is not None else None
            if axis is not None and bands is not None:
                self.cuts[node.ref] = Cut(axis, bands)

    def _axis(self, node: Node, rows_from: int, channels_from: int) -> int | None:
        size = self._sizes.get(node.ref)
        if size is None or not node.inputs or size[0] < min(rows_from, channels_from):
            return None
        if size[0] >= rows_from:
            return ROWS if has_row_bands(self._graph, node, self._sizes) else None
        alone = node.op == CONV or node.inputs[0] in self._axes
        return CHANNELS if alone and has_channel_bands(self._graph, node, self._sizes) else None

    def _bands(self, node: Node, axis: int) -> tuple[Span, ...] | None:
        """Where to cut a tensor; None for not at all."""
        size = self._sizes[node.ref]
        length = size[0] if axis == ROWS else size[2]
        if length < self._count or (self._only_moves(node) and not self._in_rows(node)):
            return None
        if axis == CHANNELS:
            return shares(length, self._count)
        bands = self._wanted(node) or shares(length, self._count)
        return bands if all(self._reads_rows(node, band) for band in bands) else None

    def _only_moves(self, node: Node) -> bool:
        return node.op in (*FOLLOWERS, "ConcatV2")

    def _in_rows(self, node: Node) -> bool:
        """Whether anything that reads a tensor is computed in bands of rows."""
        return any(self._cut_in_rows(user) for user in self._graph.users_of(node.ref))

    def _cut_in_rows(self, node: Node) -> bool:
        cut = self.cuts.get(node.ref)
        return cut is not None and cut.axis == ROWS

    def _wanted(self, node: Node) -> tuple[Span, ...] | None:
        """For what costs little: in each band all rows that its readers need, where nobody reads the whole."""
        users = self._graph.users.get(node.ref, ())
        whole = any(not self._cut_in_rows(user) for user, _ in users)
        if node.op not in FOLLOWERS or whole or node.ref in self._outputs:
            return None
        bands = []
        for part in range(self._count):
            needs = [self._need(user, place, self.cuts[user.ref].bands[part]) for user, place in users]
            bands.append((min(need.first for need in needs), max(need.last for need in needs)))
        return tuple(bands)

    def _reads_rows(self, node: Node, band: Span) -> bool:
        """Whether a band has rows of the image under it: not all of it is padding."""
        needs = (self._need(node, position, band) for position in images_read(node))
        return all(need.first < need.last for need in needs)

    def _need(self, node: Node, position: int, band: Span) -> Need:
        return needed(self._graph, self._sizes, node, position, band)
