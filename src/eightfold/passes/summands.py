"""Copies the summand of a fused Sum where somebody else may still read it.

The kernel adds into the summand's own buffer. That is safe only when every other reader has finished by then, which
holds for the ancestors of the kernel; any other reader would see the sum, or freed memory.

    s ─┬ Conv(Sum)                 s ─┬ QuantizedMaxPool 1x1 ─ Conv(Sum)
       └ Conv              =>         └ Conv
"""

from __future__ import annotations

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.model import Model

__all__ = ["compute_summands_late", "protect_summands"]

_SAME_BUFFER = {
    *("Bitcast", "ExpandDims", "Identity", "Reshape", "Squeeze"),
    *(
        "MirrorPad",
        "Pad",
        "PadV2",
        "ResizeNearestNeighbor",
        "Slice",
        "StridedSlice",
        "Tile",
        "Transpose",
    ),  # moving nothing
}
_SUMMAND = 3
"""The input position of the summand: after data, filter and bias."""


def protect_summands(model: Model) -> Model:
    """Inserts a copy (a pool of one pixel, the cheapest) where it is needed."""
    graph, edit = model.graph, Edit(model)
    for node in graph:
        if b"Sum" not in node.attrs.get("fused_ops", ()):
            continue
        summand = node.inputs[_SUMMAND]
        if not _safe(graph, node, summand, model):
            inputs = list(node.inputs)
            inputs[_SUMMAND] = _copied(edit, node, summand)
            edit.change(node.but(inputs=tuple(inputs)))
    return edit.done()


def _safe(graph: Graph, node: Node, summand: Ref, model: Model) -> bool:
    owner = summand
    while graph[owner].op in _SAME_BUFFER:
        owner = graph[owner].inputs[0]
    if graph[owner].op in ("Placeholder", "Const"):
        return False
    aliases, readers = _aliases(graph, owner)
    if aliases & set(model.outputs):
        return False
    others = readers - {node.name}
    return list(node.inputs).count(summand) == 1 and others <= graph.ancestors([node.name])


def _aliases(graph: Graph, owner: Ref) -> tuple[set[Ref], set[str]]:
    """All tensors in one buffer, and the nodes that read any of them otherwise than to rename it."""
    aliases, readers, waiting = {owner}, set(), [owner]
    while waiting:
        for user, position in graph.users.get(waiting.pop(), ()):
            if user.op in _SAME_BUFFER and position == 0:
                aliases.add(user.ref)
                waiting.append(user.ref)
            else:
                readers.add(user.name)
    return aliases, readers


def _copied(edit: Edit, node: Node, summand: Ref) -> Ref:
    dtype = node.attrs["Tdevice_inputs"][_SUMMAND]
    ranges = node.inputs[-4:-2]
    attrs = {"T": dtype, "ksize": (1, 1, 1, 1), "strides": (1, 1, 1, 1), "padding": b"VALID"}
    attrs["_for"] = node.name.encode()  # TensorFlow merges equal nodes: two sums would share one copy
    return edit.add("QuantizedMaxPool", f"{summand.node}/copy", (summand, *ranges), attrs)


def compute_summands_late(model: Model) -> Model:
    """Lets a shortcut's convolution wait until its summand is wanted.

        x ─┬ Conv ─ Conv ─ Conv(Sum)             x ─┬ Conv ─ Conv ─ Conv(Sum)
           └ Conv ───────────┘           =>         └···········└ Conv ┘

    Side by side the two branches would fight for the same threads and caches, and the summand would long have left
    the cache when it is read: 3 % of a ResNet-50 at batch 32.
    """
    graph = model.graph
    for node in list(graph):
        if b"Sum" not in node.attrs.get("fused_ops", ()):
            continue
        before, shortcut = graph[node.inputs[0]], graph[node.inputs[_SUMMAND]]
        if not shortcut.attrs.get("fused_ops") or not before.attrs.get("fused_ops"):
            continue
        related = before.name in graph.ancestors([shortcut.name]) or shortcut.name in graph.ancestors([before.name])
        if not related:
            waiting = shortcut.but(control=(*shortcut.control, before.name))
            graph = graph.with_nodes(waiting if n.name == waiting.name else n for n in graph)
    return model.but(graph=graph)
