"""Arithmetic that changes nothing goes.

x ─ Mul(1) ─ y, x ─ AddV2(0) ─ y      =>      x ─ y

Swish, which Keras writes as x · sigmoid(1 · x), has one of them.
"""

from __future__ import annotations

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["drop_neutral"]

_NEUTRAL = {"Mul": 1, "RealDiv": 1, "Add": 0, "AddV2": 0, "Sub": 0}
_COMMUTATIVE = {"Mul", "Add", "AddV2"}


def drop_neutral(model: Model, context: Context) -> Model:
    """Drops multiplications by one and additions of zero; only of single numbers, which broadcast to nothing larger."""
    del context
    edit = Edit(model)
    for node in model.graph:
        kept = _unchanged(model.graph, node)
        if kept is not None:
            edit.redirect(node.ref, kept)
    return edit.done()


def _unchanged(graph: Graph, node: Node) -> Ref | None:
    """The input that a node gives back as it is, else `None`."""
    if node.op not in _NEUTRAL:
        return None
    first, second = node.inputs
    if _is_number(graph, second, _NEUTRAL[node.op]):
        return first
    return second if node.op in _COMMUTATIVE and _is_number(graph, first, _NEUTRAL[node.op]) else None


def _is_number(graph: Graph, ref: Ref, number: int) -> bool:
    value = graph.constant(ref)
    return value is not None and value.ndim == 0 and value.dtype.kind in "fiuV" and bool(value == number)
