"""What follows a matrix product on more than two axes is done before the axes are restored.

    MatMul ─ Reshape[a,b,n] ─ Add(bias) ─ Relu      =>      MatMul ─ Add(bias) ─ Relu ─ Reshape[a,b,n]

Bias and activation then stand beside the product, where they fold and fuse.
"""

from __future__ import annotations

from collections.abc import Mapping

from eightfold.graph.edit import Edit
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.linear import channel_vector
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["sink_reshapes"]

_UNARY = {"Relu", "Relu6", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Erf", "Erfc", "Square", "Neg"}
_BINARY = {"Add", "AddV2", "BiasAdd", "Mul", "Sub", "RealDiv", "Pow", "Maximum", "Minimum"}


def sink_reshapes(model: Model, context: Context) -> Model:
    """Moves the Reshape after a MatMul below all that works on single numbers or on the last axis."""
    if not any(_restores_axes(model.graph, node.ref) for node in model.graph):
        return model
    changed = True
    while changed:
        moved = _sink_once(model, context.infer(model.graph))
        changed = moved is not model
        model = moved
    return model


def _restores_axes(graph: Graph, ref: Ref) -> Node | None:
    """The Reshape that computes a tensor from a matrix product or what was made of it, else `None`."""
    node = graph[ref]
    if node.op != "Reshape" or ref.port != 0:
        return None
    source = graph[node.inputs[0]]
    return node if source.op == "MatMul" or source.op in _UNARY | _BINARY else None


def _sink_once(model: Model, info: Mapping[Ref, tuple[DType, Shape]]) -> Model:
    graph, edit = model.graph, Edit(model)
    for node in graph:
        if node.op not in _UNARY | _BINARY:
            continue
        shape = info[node.ref][1]
        inputs = _flat_inputs(graph, node, info)
        reshape = next((r for ref in node.inputs if (r := _restores_axes(graph, ref))), None)
        if inputs is None or reshape is None or not shape.known_rank:
            continue
        flat = edit.add(node.op, f"{node.name}/flat", inputs, node.attrs)
        restored = edit.add("Reshape", f"{node.name}/restored", (flat, reshape.inputs[1]), reshape.attrs)
        edit.redirect(node.ref, restored)
    return edit.done()


def _flat_inputs(graph: Graph, node: Node, info: Mapping[Ref, tuple[DType, Shape]]) -> list[Ref] | None:
    """The inputs before their axes were restored; `None` unless all are [rows, n], or one number for each of n."""
    inputs: list[Ref] = []
    targets: set[Ref] = set()
    for ref in node.inputs:
        reshape = _restores_axes(graph, ref)
        if reshape is not None:
            before, after = info[reshape.inputs[0]][1], info[ref][1]
            if not before.known_rank or len(before) != 2 or not after.known_rank or before[-1] != after[-1]:
                return None
            inputs.append(reshape.inputs[0])
            targets.add(reshape.inputs[1])
            continue
        vector, constant = channel_vector(graph, ref), graph.constant(ref)
        if vector is None or constant is None or constant.ndim > 1:
            return None
        inputs.append(ref)
    return inputs if len(targets) == 1 else None
