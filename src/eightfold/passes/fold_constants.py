"""What depends on constants only is computed now.

Const ─┐
       Mul ─ Rsqrt ─ y      =>      Const ─ y
Const ─┘
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import DType, Graph, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["fold_constants"]

_LARGEST = 64 * 2**20
"""Bytes; a constant grown beyond this and beyond its sources (a large `Fill`) is better computed at run time."""

_NEVER = {"Const", "Placeholder", "NoOp", "Enter", "Exit", "NextIteration", "Switch", "Merge", "LoopCond"}


def fold_constants(model: Model, context: Context) -> Model:
    """Evaluates every maximal constant expression once."""
    graph = model.graph
    constant = _constant_nodes(graph, context)
    frontier = [
        ref
        for ref, users in graph.users.items()
        if ref.node in constant and graph[ref].op != "Const" and any(user.name not in constant for user, _ in users)
    ]
    frontier += [ref for ref in model.outputs if ref.node in constant and graph[ref].op != "Const"]
    frontier = list(dict.fromkeys(frontier))
    if not frontier:
        return model
    values = context.evaluate(graph.pruned(ref.node for ref in frontier), frontier)
    edit = Edit(model)
    for ref, value in zip(frontier, values, strict=True):
        text = isinstance(value, bytes)  # NumPy would give it a dtype of its own
        array = np.asarray(value, object if text else None)
        dtype = DType("string") if array.dtype == object else None
        if array.nbytes <= max(_LARGEST, _source_bytes(graph, ref)):
            edit.redirect(
                ref,
                edit.const(f"{ref.node}/folded" if ref.port == 0 else f"{ref.node}/folded_{ref.port}", array, dtype),
            )
    return edit.done()


def _constant_nodes(graph: Graph, context: Context) -> set[str]:
    constant: set[str] = set()
    for node in graph:
        if node.op == "Const":
            if not node.control:  # else it belongs to one branch of TensorFlow 1's control flow
                constant.add(node.name)
        elif (
            node.inputs
            and not node.control
            and node.op not in _NEVER
            and all(ref.node in constant for ref in node.inputs)
            and not context.is_stateful(node.op)
        ):
            constant.add(node.name)
    return constant


def _source_bytes(graph: Graph, ref: Ref) -> int:
    names = graph.ancestors([ref.node])
    return sum(graph[name].value.nbytes for name in names if graph[name].op == "Const")
