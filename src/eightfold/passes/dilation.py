"""A convolution between SpaceToBatchND and BatchToSpaceND is a dilated convolution.

x ─ SpaceToBatchND(r) ─ Conv2D(VALID) ─ BatchToSpaceND(r)      =>      x ─ Conv2D(dilations=r)
"""

from __future__ import annotations

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Graph, Node
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["contract_dilation"]


def contract_dilation(model: Model, context: Context) -> Model:
    """Rewrites every such triple with constant block shape and paddings."""
    del context
    graph, edit = model.graph, Edit(model)
    for last in graph:
        if last.op != "BatchToSpaceND":
            continue
        conv = graph[last.inputs[0]]
        if conv.op not in ("Conv2D", "DepthwiseConv2dNative") or len(graph.users_of(conv.ref)) != 1:
            continue
        first = graph[conv.inputs[0]]
        attrs = _dilated(graph, first, conv, last) if first.op == "SpaceToBatchND" else None
        if attrs is not None:
            name = f"{last.name}/dilated"
            edit.redirect(last.ref, edit.add(conv.op, name, (first.inputs[0], conv.inputs[1]), attrs))
    return edit.done()


def _dilated(graph: Graph, first: Node, conv: Node, last: Node) -> dict[str, object] | None:
    """The attributes of the dilated convolution, or `None` where it is not one."""
    block, pads = graph.constant(first.inputs[1]), graph.constant(first.inputs[2])
    back, crops = graph.constant(last.inputs[1]), graph.constant(last.inputs[2])
    if block is None or pads is None or back is None or crops is None or block.tolist() != back.tolist():
        return None
    unit = conv.attrs["padding"] == b"VALID" and set(conv.attrs["strides"]) == {1}
    if not unit or block.size != 2 or conv.attrs.get("data_format", b"NHWC") != b"NHWC":
        return None
    explicit = pads.astype(int) - crops.astype(int)
    if (explicit < 0).any() or crops[:, 0].any():
        return None
    height, width = (int(b) for b in block)
    return {
        **conv.attrs,
        "dilations": (1, height, width, 1),
        "padding": b"EXPLICIT",
        "explicit_paddings": (0, 0, *(int(p) for p in explicit.reshape(-1)), 0, 0),
    }
