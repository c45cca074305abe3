"""What follows a matrix product on more than two axes is done before the axes are restored.

    MatMul ─ Reshape[a,b,n] ─ Add(bias) ─ Relu      =>      MatMul ─ Add(bias) ─ Relu ─ Reshape[a,b,n]

    MatMul ─ Reshape[a,b,heads,n/heads] ─ Add(bias[heads,n/heads])      =>      the same

Bias and activation then stand beside the product, where they fold and fuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["ELEMENTWISE", "sink_reshapes"]

ELEMENTWISE = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Erf", "Erfc", "Square", "Neg"),
    *("Add", "AddV2", "BiasAdd", "Mul", "Sub", "RealDiv", "Pow", "Maximum", "Minimum"),
}
"""What works on single numbers, constants of fewer axes broadcast from the last."""


def sink_reshapes(model: Model, context: Context) -> Model:
    """Moves the Reshape after a MatMul below all that works on single numbers or on the last axis."""
    model = _merged(model)
    if not any(_restores_axes(model.graph, node.ref) for node in model.graph):
        return model
    changed = True
    while changed:
        moved = _sink_once(model, context.infer(model.graph))
        changed = moved is not model
        model = moved
    return model


def _merged(model: Model) -> Model:
    """Of several Reshapes in a row only the last counts."""
    graph, edit = model.graph, Edit(model)
    for node in graph:
        if node.op != "Reshape":
            continue
        source = node.inputs[0]
        while graph[source].op == "Reshape":
            source = graph[source].inputs[0]
        if source != node.inputs[0]:
            edit.change(node.but(inputs=(source, node.inputs[1])))
    return edit.done()


def _restores_axes(graph: Graph, ref: Ref) -> Node | None:
    """The Reshape that computes a tensor from a matrix product or what was made of it, else `None`."""
    node = graph[ref]
    if node.op != "Reshape" or ref.port != 0:
        return None
    source = graph[node.inputs[0]]
    return node if source.op == "MatMul" or source.op in ELEMENTWISE else None


def _sink_once(model: Model, info: Mapping[Ref, tuple[DType, Shape]]) -> Model:
    graph, edit = model.graph, Edit(model)
    for node in graph:
        if node.op not in ELEMENTWISE:
            continue
        shape = info[node.ref][1]
        inputs = _flat_inputs(edit, node, info)
        reshape = next((r for ref in node.inputs if (r := _restores_axes(graph, ref))), None)
        if inputs is None or reshape is None or not shape.known_rank:
            continue
        flat = edit.add(node.op, f"{node.name}/flat", inputs, node.attrs)
        restored = edit.add("Reshape", f"{node.name}/restored", (flat, reshape.inputs[1]), reshape.attrs)
        edit.redirect(node.ref, restored)
    return edit.done()


def _flat_inputs(edit: Edit, node: Node, info: Mapping[Ref, tuple[DType, Shape]]) -> list[Ref] | None:
    """The inputs before their axes were restored; `None` unless all are [rows, n], or one number for each of n."""
    graph = edit.graph
    reshapes = {ref: found for ref in node.inputs if (found := _restores_axes(graph, ref)) is not None}
    units = {_units(info[found.inputs[0]][1], info[ref][1]) for ref, found in reshapes.items()}
    targets = {found.inputs[1] for found in reshapes.values()}
    if len(units) != 1 or len(targets) != 1 or not (split := units.pop()):
        return None
    if node.op == "BiasAdd" and (len(split) > 1 or node.attrs.get("data_format", b"NHWC") != b"NHWC"):
        return None
    rank = max(len(info[ref][1]) for ref in reshapes)
    vectors = {ref: _vector(graph, ref, split, rank) for ref in node.inputs if ref not in reshapes}
    if any(vector is None for vector in vectors.values()):
        return None
    return [reshapes[ref].inputs[0] if ref in reshapes else _kept(edit, ref, vectors[ref]) for ref in node.inputs]


def _units(before: Shape, after: Shape) -> tuple[int, ...]:
    """The last axes that the n columns of [rows, n] become: n, or several of that product; `()` for none."""
    if not before.known_rank or not after.known_rank or len(before) != 2 or before[-1] is None:
        return ()
    for count in range(1, len(after)):
        last = [dim for dim in after[-count:] if dim is not None]
        if len(last) == count and math.prod(last) == before[-1]:
            return tuple(last)
    return ()


def _vector(graph: Graph, ref: Ref, units: tuple[int, ...], rank: int) -> Array | None:
    """A constant with one number for each of the columns, or one for all, as it broadcasts to [rows, n]."""
    value = graph.constant(ref)
    if value is None or value.ndim > rank:
        return None
    if value.size == 1:
        return value.reshape(value.shape[-1:])
    varies = value.shape[-len(units) :] == units and value.size == math.prod(units)
    return value.reshape(-1) if varies else None


def _kept(edit: Edit, ref: Ref, vector: Array | None) -> Ref:
    """The constant itself where it is such a vector already."""
    value = edit.graph.constant(ref)
    return ref if vector is None or value is None or value.ndim <= 1 else edit.const(f"{ref.node}/flat", vector)
