"""Loops of TensorFlow 1, whose nodes live in frames: what a loop reads from outside must come through an Enter.

    Const ─ MatMul (in a loop)      =>      Const ─ Enter ─ MatMul (in a loop)

Passes and rewrites add constants without a thought of frames; here they are led into them.
"""

from __future__ import annotations

from eightfold.graph.ir import Graph, Node, Ref

__all__ = ["sometimes_run", "within_frames"]

_Frame = tuple[str, ...]
"""The names of the loops around a node, outermost first."""


def within_frames(graph: Graph) -> Graph:
    """The graph with an Enter between each constant and the loop that reads it; the same graph without loops."""
    enters = {_name(node): node for node in graph if node.op in ("Enter", "RefEnter")}
    if not enters:
        return graph
    frames = _frames(graph)
    nodes: dict[str, Node] = {}
    for node in graph:
        if node.op in ("Enter", "RefEnter"):
            nodes[node.name] = node
            continue
        inputs = list(node.inputs)
        for position, ref in enumerate(inputs):
            outer, inner = frames[ref.node], _read_in(node, frames)
            if graph[ref].op != "Const" or outer == inner:
                continue
            for name in inner[len(outer) :]:
                entry = _entry(graph[ref], ref, enters[name])
                nodes[entry.name] = entry
                inputs[position] = entry.ref
        nodes[node.name] = node.but(inputs=tuple(inputs))
    return graph.with_nodes(nodes.values())


def _frames(graph: Graph) -> dict[str, _Frame]:
    """Each node's frame: that of its deepest input; an Enter is in the loop that it opens, an Exit outside."""
    frames: dict[str, _Frame] = {}
    for node in graph:
        sources = [*(ref.node for ref in node.inputs), *node.control]
        around = max((frames.get(name, ()) for name in sources), key=len, default=())
        if node.op in ("Enter", "RefEnter"):
            around = (*around, _name(node))
        elif node.op in ("Exit", "RefExit"):
            around = around[:-1]
        frames[node.name] = around
    return frames


def _read_in(node: Node, frames: dict[str, _Frame]) -> _Frame:
    """The frame in which a node reads its inputs: an Exit reads in the loop that it leaves."""
    if node.op in ("Exit", "RefExit"):
        return max((frames[ref.node] for ref in node.inputs), key=len)
    return frames[node.name]


def _name(enter: Node) -> str:
    return str(enter.attrs["frame_name"].decode())


def _entry(constant: Node, source: Ref, enter: Node) -> Node:
    attrs = {**enter.attrs, "T": constant.attrs["dtype"], "is_constant": True}
    return Node(f"{source.node}/enter_{_name(enter).replace('/', '_')}", "Enter", (source,), attrs)


def sometimes_run(graph: Graph) -> set[str]:
    """The nodes in loops and branches of TensorFlow 1: their tensors cannot be fetched, or not in every run."""
    frames, depth = _frames(graph), dict[str, int]()
    if not any(node.op in ("Switch", "RefSwitch") for node in graph):
        return set()
    for node in graph:
        sources = [*(ref.node for ref in node.inputs), *node.control]
        around = max((depth.get(name, 0) for name in sources), default=0)
        looping = any(frames[name] for name in (node.name, *(ref.node for ref in node.inputs)) if name in frames)
        step = 0 if looping else {"Switch": 1, "RefSwitch": 1, "Merge": -1, "RefMerge": -1}.get(node.op, 0)
        depth[node.name] = around + step
    return {name for name in depth if depth[name] > 0 or frames[name]}
