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
_SILENT = {"NoOp", "Assert", "Const", "Placeholder", "Print", "PrintV2", "CheckNumerics", "Identity"}


def strip(model: Model, context: Context) -> Model:
    """Drops pass-through nodes and control edges from nodes that change nothing."""
    edit = Edit(model)
    inputs = {ref.node for ref in model.inputs}
    for node in model.graph:
        if node.name in inputs:
            continue
        if node.op in _PASS_THROUGH and not _guards(node, model):
            edit.redirect(node.ref, node.inputs[0])
        elif node.op == "IdentityN":
            for port, source in enumerate(node.inputs):
                edit.redirect(Ref(node.name, port), source)
        elif node.control:
            kept = tuple(name for name in node.control if _matters(model.graph[name], context))
            if kept != node.control:
                edit.change(node.but(control=kept))
    return edit.done()


def _matters(node: Node, context: Context) -> bool:
    return node.op not in _SILENT and context.is_stateful(node.op)


def _guards(node: Node, model: Model) -> bool:
    """Whether an Identity is there to anchor control flow of TensorFlow 1: something waits for it."""
    source = model.graph[node.inputs[0]]
    return source.op in ("Switch", "Merge", "RefSwitch") and node.name in model.graph.control_users
