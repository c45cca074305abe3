"""The constants before a tensor that, multiplied by a factor for each channel, multiply the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.linear import LinearOp, channel_vector, linear_op
from eightfold.graph.model import Model
from eightfold.graph.pattern import Miss
from eightfold.passes.channels.operand import Operand, carries

__all__ = ["Producers", "producers"]

_SUMS = {"Add", "AddV2", "BiasAdd", "Sub"}
_HOMOGENEOUS = {"LeakyRelu", "Neg", "Relu"}
"""f(g·x) = g·f(x) for each g above 0."""


@dataclass(frozen=True)
class Producers:
    """What has been found on the way up from a tensor.

    Attributes:
        operands: the constants.
        inputs: by the nodes that the factor passes through, the inputs that it comes from.
        cap: where the tensor is clipped above.
    """

    operands: tuple[Operand, ...] = ()
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cap: float | None = None

    def through(self, node: Node, *positions: int) -> Producers:
        return replace(self, inputs={**self.inputs, node.name: positions})

    def into(self, operand: Operand) -> Producers:
        return replace(self, operands=(*self.operands, operand))


def producers(model: Model, tensor: Ref, channels: int) -> Producers | Miss:
    """The constants that scale a tensor of so many channels and nothing else, or why there are none."""
    if channels < 2:
        return Miss(f"{tensor} has one channel")
    found = _up(model.graph, channels, tensor, Producers(), clips=True)
    if isinstance(found, Miss):
        return found
    for name in (name for name in found.inputs if name != tensor.node):
        other = next((u for u, p in model.graph.users[Ref(name)] if p not in found.inputs.get(u.name, ())), None)
        if other is not None:
            return _also_read(name, other)
        if Ref(name) in model.outputs:
            return Miss(f"{name} is also an output of the model")
    return found


def _also_read(name: str, reader: Node) -> Miss:
    return Miss(f"{name} is also read by {reader.name}")


def _up(graph: Graph, channels: int, ref: Ref, found: Producers, *, clips: bool) -> Producers | Miss:
    """What is found together with what scales one more tensor; `clips`: whether a clip may still come."""
    node = graph[ref]
    if node.name in found.inputs:
        return found
    layout = linear_op(node)
    if layout is not None:
        return _weight(graph, channels, node, layout, found)
    if node.op in _SUMS and node.attrs.get("data_format", b"NHWC") == b"NHWC":
        return _operands(graph, channels, node, (0, 1), found)
    if node.op == "Mul":
        return _factor(graph, channels, node, found)
    cap = _cap(graph, node) if clips else None
    if cap is not None:
        found = replace(found, cap=min(cap, found.cap or np.inf))
    elif not (node.op in _HOMOGENEOUS or carries(graph, node) or _floors(graph, node) or _keeps(graph, node, channels)):
        return Miss(f"{node.name} ({node.op}) does not let a factor for each channel through")
    return _up(graph, channels, node.inputs[0], found.through(node, 0), clips=clips)


def _weight(graph: Graph, channels: int, node: Node, layout: LinearOp, found: Producers) -> Producers | Miss:
    weight = graph.constant(node.inputs[layout.weight])
    if weight is None or layout.channels(weight) != channels:
        return Miss(f"{node.name} ({node.op}) has no constant weight of {channels} output channels")
    return found.through(node).into(Operand(node.name, layout.weight, layout.out_axes))


def _factor(graph: Graph, channels: int, node: Node, found: Producers) -> Producers | Miss:
    """One side of a product takes the factor, a constant rather than a computed one."""
    if node.inputs[0] == node.inputs[1]:
        return Miss(f"{node.name} squares its input")
    misses = []
    for position in sorted((0, 1), key=lambda p: graph.constant(node.inputs[p]) is None):
        way = _operands(graph, channels, node, (position,), found)
        if isinstance(way, Producers):
            return way
        misses.append(way)
    return misses[-1]


def _operands(
    graph: Graph, channels: int, node: Node, positions: tuple[int, ...], found: Producers
) -> Producers | Miss:
    """Some inputs of a node, each a vector of constants or scaled further up."""
    way: Producers | Miss = found.through(node, *positions)
    for position in positions:
        ref = node.inputs[position]
        if isinstance(way, Miss):
            break
        if graph.constant(ref) is None:
            other = next((user for user in graph.users_of(ref) if not _may_pass(graph, user)), None)
            way = _up(graph, channels, ref, way, clips=False) if other is None else _also_read(ref.node, other)
            continue
        vector = channel_vector(graph, ref)
        if vector is None or vector.size != channels:
            return Miss(f"the constant {ref} of {node.name} does not have one number for each of {channels} channels")
        way = way.into(Operand(node.name, position))
    return way


def _may_pass(graph: Graph, node: Node) -> bool:
    """Whether a factor could pass through a node at all; what cannot must not read a scaled tensor."""
    return node.op in _SUMS | _HOMOGENEOUS | {"Mul", "Reshape"} or carries(graph, node)


def _cap(graph: Graph, node: Node) -> float | None:
    """Where a node clips above, or `None`."""
    if node.op == "Relu6":
        return 6.0
    bound = graph.constant(node.inputs[1]) if node.op == "Minimum" else None
    return float(bound.item()) if bound is not None and bound.size == 1 and bound > 0 else None


def _floors(graph: Graph, node: Node) -> bool:
    """Whether a node is max(x, 0)."""
    floor = graph.constant(node.inputs[1]) if node.op == "Maximum" else None
    return floor is not None and not floor.any()


def _keeps(graph: Graph, node: Node, channels: int) -> bool:
    """Whether a node is a Reshape that keeps the last axis."""
    shape = graph.constant(node.inputs[1]) if node.op == "Reshape" else None
    return shape is not None and shape.size > 0 and int(shape[-1]) == channels
