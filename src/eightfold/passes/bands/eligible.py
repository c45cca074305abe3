"""Which nodes can be computed in bands of rows, and which in bands of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TypeAlias

from eightfold.graph.ir import Graph, Node, Ref
from eightfold.passes.bands.geometry import Size
from eightfold.passes.bands.operands import (
    CONVOLUTIONS,
    PADS,
    POOLS,
    channel_constants,
    filter_of,
    fuses,
    images_read,
    joins_channels,
    plain,
    window,
)
from eightfold.rewrites.kernels import CONV

__all__ = ["FOLLOWERS", "has_channel_bands", "has_row_bands"]

_Sizes: TypeAlias = Mapping[Ref, Size]

FOLLOWERS = ("Bitcast", "Dequantize", "Identity", *PADS, "QuantizeV2", "Relu", "Reshape")
"""What moves or converts and costs little."""


def has_row_bands(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    """Whether rows of the result follow from rows of the images that the node reads."""
    rule = _ROW_RULES.get(node.op)
    return rule is not None and all(node.inputs[p] in sizes for p in images_read(node)) and rule(graph, node, sizes)


def has_channel_bands(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    """Whether channels of the result follow from some of the constants; depthwise and in pools, from some channels."""
    if any(node.inputs[p] not in sizes for p in images_read(node)):
        return False
    if node.op in POOLS:
        return window(graph, node) is not None
    return node.op in CONVOLUTIONS and _has_constants(graph, node) and _has_one_group(graph, node, sizes)


def _has_constants(graph: Graph, node: Node) -> bool:
    """Whether what differs from channel to channel is constant. Sums in 32 bits have a range for each channel, too."""
    if not (fuses(node, "BiasAdd") and fuses(node, "Requantize")):
        return False
    return all(graph.constant(node.inputs[position]) is not None for position in channel_constants(node))


def _has_one_group(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    """Whether each filter reads all channels or, depthwise, each channel has one filter."""
    weight = filter_of(graph, node)
    if weight is None or weight.shape[2] != sizes[node.inputs[0]][2]:
        return False
    return node.op == CONV or weight.shape[3] == 1


# --- rows ---------------------------------------------------------------------------------------------------------


def _always(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    return True


def _slides(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    return window(graph, node) is not None


def _pools(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    """The kernels of pools know no explicit padding: what SAME adds to a band must be what it adds to the image."""
    slides = window(graph, node)
    if slides is None:
        return False
    return slides.padding == "VALID" or (slides.padding == "SAME" and slides.stride[0] == 1)


def _joins(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    return joins_channels(graph, node)


def _keeps_elements(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    return plain(node.attrs["T"]) == plain(node.attrs["type"])


def _converts_alike(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    """Whether there is one range for all rows."""
    return node.attrs.get("axis", -1) in (3, -1)


def _pads(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    paddings = graph.constant(node.inputs[1])
    return paddings is not None and not (paddings < 0).any()


def _keeps_rows(graph: Graph, node: Node, sizes: _Sizes) -> bool:
    before, after = sizes[node.inputs[0]], sizes[node.ref]
    known = graph.constant(node.inputs[1]) is not None
    return known and before[0] == after[0] and prod(before) == prod(after)


_ROW_RULES: Mapping[str, Callable[[Graph, Node, _Sizes], bool]] = {
    **dict.fromkeys(CONVOLUTIONS, _slides),
    **dict.fromkeys(POOLS, _pools),
    **dict.fromkeys(PADS, _pads),
    **dict.fromkeys(("Dequantize", "QuantizeV2"), _converts_alike),
    **dict.fromkeys(("Identity", "Relu"), _always),
    "Bitcast": _keeps_elements,
    "ConcatV2": _joins,
    "Reshape": _keeps_rows,
}
