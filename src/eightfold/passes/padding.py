"""A constant zero Pad before a convolution becomes the convolution's own padding.

x ─ Pad([[0,0],[3,3],[3,3],[0,0]]) ─ Conv2D(VALID)      =>      x ─ Conv2D(EXPLICIT, 3,3,3,3)
"""

from __future__ import annotations

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Graph, Node
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["fold_padding"]


def fold_padding(model: Model, context: Context) -> Model:
    """Folds pads of the two spatial axes into Conv2D and DepthwiseConv2dNative."""
    del context
    graph, edit = model.graph, Edit(model)
    for conv in graph:
        if conv.op != "Conv2D" or conv.attrs["padding"] == b"SAME":
            continue
        if conv.attrs.get("data_format", b"NHWC") != b"NHWC":
            continue
        pad = graph[conv.inputs[0]]
        amounts = _zero_pad(graph, pad)
        if amounts is None or amounts[[0, 3]].any():
            continue
        own = conv.attrs["explicit_paddings"] if conv.attrs["padding"] == b"EXPLICIT" else (0,) * 8
        total = tuple(int(a) + b for a, b in zip(amounts.reshape(-1), own, strict=True))
        changed = conv.with_attrs(padding=b"EXPLICIT", explicit_paddings=total)
        edit.change(changed.but(inputs=(pad.inputs[0], *conv.inputs[1:])))
    return edit.done()


def _zero_pad(graph: Graph, node: Node) -> Array | None:
    """The [4, 2] amounts of a constant Pad with zeros, else `None`."""
    if node.op not in ("Pad", "PadV2"):
        return None
    if node.op == "PadV2":
        fill = graph.constant(node.inputs[2])
        if fill is None or fill.any():
            return None
    amounts = graph.constant(node.inputs[1])
    return amounts if amounts is not None and amounts.shape == (4, 2) and (amounts >= 0).all() else None
