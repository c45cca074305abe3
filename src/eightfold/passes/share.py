"""What is computed twice is computed once.

    a ─ Conv2D(w) ─ x                a ─ Conv2D(w) ─┬ x
    a ─ Conv2D(w) ─ y       =>                      └ y

Signatures with inputs of the same name, dtype and shape share their placeholders first: they are never called
together, and Keras exports the same function under two names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Attr, Func, Node, Ref
from eightfold.graph.model import Model, TensorSpec
from eightfold.passes.context import Context

__all__ = ["share_inputs", "share_nodes"]


def share_inputs(model: Model, context: Context) -> Model:
    """Lets signatures with equal inputs read the same placeholders."""
    del context
    edit = Edit(model)
    first: dict[tuple[str, str, str], TensorSpec] = {}
    signatures = {}
    for signature in sorted(model.signatures.values(), key=lambda s: s is not model.default):
        inputs = {}
        for key, spec in signature.inputs.items():
            chosen = first.setdefault((key, str(spec.dtype), str(spec)), spec)
            inputs[key] = chosen
            if chosen.ref != spec.ref:
                edit.redirect(spec.ref, chosen.ref)
        signatures[signature.name] = signature.but(inputs=inputs)
    shared = edit.done()
    if shared is model:
        return model
    outputs = {name: shared.signatures[name].outputs for name in signatures}
    return shared.but(
        signatures={name: signatures[name].but(outputs=outputs[name]) for name in model.signatures}
    ).pruned()


def share_nodes(model: Model, context: Context) -> Model:
    """Merges nodes of equal op, attributes and inputs; of their names the shortest stays."""
    edit = Edit(model)
    inputs = {ref.node for ref in model.inputs}
    groups: dict[Hashable, list[Node]] = {}
    merged: dict[str, str] = {}
    for node in model.graph:
        if node.name in inputs or node.control or (node.op != "Const" and context.is_stateful(node.op)):
            continue
        sources = tuple(Ref(merged.get(ref.node, ref.node), ref.port) for ref in node.inputs)
        key = (node.op, sources, _key(node.attrs))
        group = groups.setdefault(key, [])
        group.append(node)
        merged[node.name] = group[0].name
    used: dict[str, set[int]] = {}
    for ref in (*model.graph.users, *model.outputs):
        used.setdefault(ref.node, set()).add(ref.port)
    for group in groups.values():
        kept = min(group, key=lambda node: (len(node.name), node.name))
        for node in group:
            if node is not kept:
                for port in used.get(node.name, ()):
                    edit.redirect(Ref(node.name, port), Ref(kept.name, port))
    return edit.done()


def _key(value: Attr) -> Hashable:
    """A hashable stand-in for an attribute value."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, _digest(value))
    if isinstance(value, Func):
        return (value.name, _key(value.attrs))
    if isinstance(value, tuple):
        return (type(value).__name__, tuple(_key(item) for item in value))
    if hasattr(value, "items"):
        return tuple(sorted((name, _key(item)) for name, item in value.items()))
    return (type(value).__name__, value)


def _digest(value: Array) -> bytes:
    content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
    return hashlib.sha256(content).digest()
