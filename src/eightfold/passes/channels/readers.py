"""The weights behind a tensor that can take up a factor for each of its channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.linear import linear_op
from eightfold.graph.model import Model
from eightfold.graph.pattern import Miss
from eightfold.passes.channels.operand import Operand, carries

__all__ = ["Readers", "readers", "source"]


@dataclass(frozen=True)
class Readers:
    """The weights of all that reads a tensor, by input channels."""

    operands: tuple[Operand, ...]
    channels: int


def readers(model: Model, tensor: Ref) -> Readers | Miss:
    """The weights of everything that reads a tensor, or what else reads it."""
    operands: list[Operand] = []
    sizes: set[int] = set()
    for reader in _readers(model, tensor):
        if isinstance(reader, str):
            return Miss(reader)
        operand, size = reader
        operands.append(operand)
        sizes.add(size)
    if len(sizes) != 1:
        return Miss(f"{tensor} is read by weights of {sorted(sizes)} input channels, expected one number of them")
    return Readers(tuple(operands), sizes.pop())


def source(graph: Graph, ref: Ref) -> Ref:
    """The tensor whose channels a tensor carries: what stands before pools, padding and flattening."""
    while carries(graph, graph[ref]) or _flattens(graph, graph[ref]):
        ref = graph[ref].inputs[0]
    return ref


def _readers(model: Model, tensor: Ref) -> Iterator[tuple[Operand, int] | str]:
    """The weight of each reader with its number of input channels, or why it has none."""
    graph = model.graph
    if tensor in model.outputs:
        yield f"{tensor} is an output of the model"
    for node, position in graph.users.get(tensor, ()):
        layout = linear_op(node)
        if layout is not None and position == layout.data:
            weight = graph.constant(node.inputs[layout.weight])
            if weight is None or weight.dtype != np.float32:
                yield f"{tensor} is read by {node.name} ({node.op}), whose weight is not constant and float32"
            else:
                size = int(np.prod([weight.shape[axis] for axis in layout.in_axes]))
                yield Operand(node.name, layout.weight, layout.in_axes), size
        elif position == 0 and (carries(graph, node) or _flattens(graph, node)):
            yield from _readers(model, node.ref)
        else:
            yield f"{tensor} is read by {node.name} ({node.op}), which has no weight to take up a factor"


def _flattens(graph: Graph, node: Node) -> bool:
    """Whether a node is a Reshape for matrix products: it keeps the last axis if that has one row of theirs each."""
    users = graph.users.get(node.ref, ())
    return node.op == "Reshape" and bool(users) and all(n.op == "MatMul" and p == 0 for n, p in users)
