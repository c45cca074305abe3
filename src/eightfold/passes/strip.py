"""Removes what only training, debugging or bookkeeping needs.

x ─ Identity ─ CheckNumerics ─ y      =>      x ─ y
y waits for NoOp, Assert              =>      y waits for nothing that changes no value
"""

from __future__ import annotations

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["strip"]

_PASS_THROUGH = {
    "Identity",
    "CheckNumerics",
    "DebugIdentity",
    "PlaceholderWithDefault",
    "PreventGradient",
    "Snapshot",
    "StopGradient",
}
_FLOW = {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"}
_SILENT = {"NoOp", "Assert", "Const", "Placeholder", "Print", "PrintV2", "CheckNumerics", "Identity"}


def strip(model: Model, context: Context) -> Model:
    """Drops pass-through nodes and control edges from nodes that change nothing."""
    edit = Edit(model)
    inputs = {ref.node for ref in model.inputs}
    awaited = _awaited(model, context)
    for node in model.graph:
        if node.name in inputs:
            continue
        if node.op in _PASS_THROUGH and not _guards(node, model):
            edit.redirect(node.ref, node.inputs[0])
        elif node.op == "IdentityN":
            for port, source in enumerate(node.inputs):
                edit.redirect(Ref(node.name, port), source)
        elif node.control:
            kept = tuple(dict.fromkeys(found for name in node.control for found in awaited[name]))
            if kept != node.control:
                edit.change(node.but(control=kept))
    return edit.done()


def _awaited(model: Model, context: Context) -> dict[str, tuple[str, ...]]:
    """What has run once a node has: itself where it has side effects, else those with side effects that it needs."""
    awaited: dict[str, tuple[str, ...]] = {}
    for node in model.graph:
        if _matters(node, model, context):
            awaited[node.name] = (node.name,)
        else:
            sources = (*node.control, *(ref.node for ref in node.inputs))
            found = (name for source in sources for name in awaited.get(source, ()))
            awaited[node.name] = tuple(dict.fromkeys(found))
    return awaited


def _matters(node: Node, model: Model, context: Context) -> bool:
    if node.op in _FLOW or _guards(node, model):
        return True
    return node.op not in _SILENT and context.is_stateful(node.op)


def _guards(node: Node, model: Model) -> bool:
    """Whether an Identity anchors control flow of TensorFlow 1: what waits for it runs in its branch only."""
    if node.op != "Identity":
        return False
    source = model.graph[node.inputs[0]]
    return source.op in ("Switch", "Merge", "RefSwitch") and node.name in model.graph.control_users
