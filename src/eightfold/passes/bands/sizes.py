"""Height, width and channels of the images of an 8-bit graph.

TensorFlow's shape inference gives up at the fused convolutions; it is completed here along what stands between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.reference.elementwise import ACTIVATIONS
from eightfold.passes.bands.geometry import Size
from eightfold.passes.bands.operands import CONVOLUTIONS, PADS, POOLS, filter_of, joins_channels, plain, window
from eightfold.rewrites.kernels import CONV

__all__ = ["image_sizes"]

_Sizes: TypeAlias = Mapping[Ref, Size]


def image_sizes(graph: Graph, facts: Mapping[Ref, tuple[DType, Shape]]) -> dict[Ref, Size]:
    """The size of each tensor [N, H, W, C] of which it is known before the run.

    Args:
        facts: dtype and shape of each tensor, as far as TensorFlow infers them.
    """
    sizes: dict[Ref, Size] = {}
    for node in graph:
        if node.ref not in facts:
            continue
        size = _inferred(facts[node.ref][1]) or _computed(graph, node, sizes)
        if size is not None and min(size) > 0:
            sizes[node.ref] = size
    return sizes


def _inferred(shape: Shape) -> Size | None:
    if len(shape) != 4:
        return None
    height, width, channels = shape[1:]
    return None if height is None or width is None or channels is None else (height, width, channels)


def _computed(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    rule = _RULES.get(node.op)
    return rule(graph, node, sizes) if rule is not None and node.inputs[0] in sizes else None


def _slid(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    slides = window(graph, node)
    if slides is None:
        return None
    height, width, channels = sizes[node.inputs[0]]
    pads = slides.pads(height, width)
    rows, columns = (
        (length + sum(around) - (taps - 1) * dilation - 1) // stride + 1
        for length, around, taps, dilation, stride in zip(
            (height, width), pads, slides.size, slides.dilation, slides.stride, strict=True
        )
    )
    weight = filter_of(graph, node) if node.op in CONVOLUTIONS else None
    if weight is not None:
        channels = weight.shape[3] if node.op == CONV else channels * weight.shape[3]
    return rows, columns, channels


def _same(graph: Graph, node: Node, sizes: _Sizes) -> Size:
    return sizes[node.inputs[0]]


def _cast(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    return sizes[node.inputs[0]] if plain(node.attrs["T"]) == plain(node.attrs["type"]) else None


def _padded(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    paddings = graph.constant(node.inputs[1])
    if paddings is None:
        return None
    height, width, channels = (
        length + int(around.sum()) for length, around in zip(sizes[node.inputs[0]], paddings[1:], strict=True)
    )
    return height, width, channels


def _reshaped(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    target = graph.constant(node.inputs[1])
    if target is None or target.shape != (4,) or (target[1:] < 0).any():
        return None
    height, width, channels = (int(length) for length in target[1:])
    return height, width, channels


def _joined(graph: Graph, node: Node, sizes: _Sizes) -> Size | None:
    if not joins_channels(graph, node) or any(ref not in sizes for ref in node.inputs[:-1]):
        return None
    height, width, _ = sizes[node.inputs[0]]
    return height, width, sum(sizes[ref][2] for ref in node.inputs[:-1])


_RULES: Mapping[str, Callable[[Graph, Node, _Sizes], Size | None]] = {
    **dict.fromkeys((*CONVOLUTIONS, *POOLS), _slid),
    **dict.fromkeys(("Dequantize", "Identity", "QuantizeV2", *ACTIVATIONS), _same),
    **dict.fromkeys(PADS, _padded),
    "Bitcast": _cast,
    "ConcatV2": _joined,
    "Reshape": _reshaped,
}
