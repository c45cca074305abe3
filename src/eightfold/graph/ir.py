"""The graph that every part of eightfold speaks: values, no behaviour of its own.

A `Graph` is an immutable set of `Node`s in topological order; a `Ref` names one output of a node. Nothing here
knows TensorFlow: `eightfold.tf.graphdef` turns a GraphDef into a `Graph` and back, attribute by attribute.

Attribute values are plain Python: `bool`, `int`, `float`, `bytes` (strings), `DType`, `Shape`, `Func`,
`numpy.ndarray` (tensors; quantized dtypes are held as the integers they are) and tuples of these (lists).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Attr", "DType", "Func", "Graph", "Node", "Ref", "Shape", "as_ref"]

Array: TypeAlias = npt.NDArray[Any]


class DType(str):
    """A tensor's element type by TensorFlow's lower-case name: `float32`, `quint8`, `string`."""

    __slots__ = ()


class Shape(tuple[int | None, ...]):
    """A tensor's shape; `None` is a dimension not known before the run. An unknown rank is `Shape.UNKNOWN`."""

    UNKNOWN: Shape

    @property
    def known_rank(self) -> bool:
        return self is not Shape.UNKNOWN


Shape.UNKNOWN = Shape((None,) * 99)


@dataclass(frozen=True, slots=True)
class Func:
    """A reference to a library function, as `While` and `PartitionedCall` carry them."""

    name: str
    attrs: Mapping[str, Any] = field(default_factory=dict)


Attr: TypeAlias = Any
"""bool | int | float | bytes | DType | Shape | Func | Array | None | tuple of these."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One output of a node; prints as `conv1:0`."""

    node: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.port}"


def as_ref(text: str | Ref) -> Ref:
    """`"conv1"`, `"conv1:0"` or a `Ref`, as a `Ref`."""
    if isinstance(text, Ref):
        return text
    node, colon, port = text.rpartition(":")
    return Ref(node, int(port)) if colon and port.isdigit() else Ref(text)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its name, op type, data inputs, attributes and the nodes it must run after."""

    name: str
    op: str
    inputs: tuple[Ref, ...] = ()
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    control: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """The node's first output."""
        return Ref(self.name)

    @property
    def value(self) -> Array:
        """The tensor of a `Const` node."""
        if self.op != "Const":
            raise TypeError(f"node {self.name!r} is a {self.op}, not a Const")
        value: Array = self.attrs["value"]
        return value

    def but(self, **changes: Any) -> Node:
        """The same node with some fields replaced."""
        return _replace(self, **changes)

    def with_attrs(self, **attrs: Attr) -> Node:
        """The same node with some attributes replaced; an attribute set to `None` is removed."""
        merged = {k: v for k, v in {**self.attrs, **attrs}.items() if v is not None}
        return _replace(self, attrs=merged)


class Graph:
    """Immutable nodes in topological order, plus the library of functions their attributes refer to.

    Loops of TensorFlow 1 (`NextIteration` feeding `Merge`) are the only cycles; they are cut at that edge.

    Args:
        nodes: the nodes, in any order.
        functions: serialised FunctionDefs by name; opaque here, carried so that they can be written back.
        versions: the GraphDef's producer and minimum consumer.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        functions: Mapping[str, bytes] | None = None,
        versions: tuple[int, int] = (0, 0),
    ) -> None:
        by_name: dict[str, Node] = {}
        for node in nodes:
            if node.name in by_name:
                raise ValueError(f"two nodes are named {node.name!r}")
            by_name[node.name] = node
        for node in by_name.values():
            for source in (*(ref.node for ref in node.inputs), *node.control):
                if source not in by_name:
                    raise ValueError(f"node {node.name!r} reads {source!r}, which is not in the graph")
        self._nodes = {name: by_name[name] for name in _topological(by_name)}
        self.functions = dict(functions or {})
        self.versions = versions

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __getitem__(self, key: str | Ref) -> Node:
        return self._nodes[key.node if isinstance(key, Ref) else key]

    def get(self, key: str | Ref) -> Node | None:
        return self._nodes.get(key.node if isinstance(key, Ref) else key)

    def __repr__(self) -> str:
        return f"Graph({len(self)} nodes)"

    @cached_property
    def users(self) -> Mapping[Ref, tuple[tuple[Node, int], ...]]:
        """For each tensor, the nodes that read it and the input position at which they do."""
        found: dict[Ref, list[tuple[Node, int]]] = {}
        for node in self:
            for position, ref in enumerate(node.inputs):
                found.setdefault(ref, []).append((node, position))
        return {ref: tuple(users) for ref, users in found.items()}

    def users_of(self, ref: Ref) -> tuple[Node, ...]:
        """The nodes that read a tensor, once for each time they do."""
        return tuple(node for node, _ in self.users.get(ref, ()))

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Each node's place in topological order."""
        return {name: index for index, name in enumerate(self._nodes)}

    @cached_property
    def control_users(self) -> Mapping[str, tuple[Node, ...]]:
        """For each node, the nodes that must run after it."""
        found: dict[str, list[Node]] = {}
        for node in self:
            for name in node.control:
                found.setdefault(name, []).append(node)
        return {name: tuple(users) for name, users in found.items()}

    def constant(self, ref: Ref) -> Array | None:
        """The value of a tensor that is a `Const`, else `None`."""
        node = self._nodes.get(ref.node)
        return node.value if node is not None and node.op == "Const" else None

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """The named nodes and everything that they need to run."""
        seen: set[str] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                node = self._nodes[name]
                stack.extend(ref.node for ref in node.inputs)
                stack.extend(node.control)
        return seen

    def between(self, first: str, last: str) -> frozenset[str]:
        """The names of all nodes on a path from one node to another, both included; empty where there is none."""
        reached = {first}
        for node in self:
            if any(ref.node in reached for ref in node.inputs):
                reached.add(node.name)
        return frozenset(reached & self.ancestors([last])) if last in reached else frozenset()

    def pruned(self, roots: Iterable[str]) -> Graph:
        """Only what the roots need."""
        keep = self.ancestors(roots)
        return self.with_nodes(node for node in self if node.name in keep)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """A graph of other nodes with this one's functions and versions."""
        return Graph(nodes, self.functions, self.versions)

    def mapped(self, change: Callable[[Node], Node]) -> Graph:
        """The graph with every node replaced by `change(node)`."""
        return self.with_nodes(change(node) for node in self)


def _topological(nodes: Mapping[str, Node]) -> list[str]:
    """Depth-first order in which a node comes after all that it reads; stable in the order given."""
    order: list[str] = []
    state: dict[str, int] = {}
    for root in nodes:
        stack = [(root, False)]
        while stack:
            name, done = stack.pop()
            if done:
                order.append(name)
                state[name] = 2
                continue
            if name in state:
                continue
            state[name] = 1
            stack.append((name, True))
            node = nodes[name]
            sources = [ref.node for ref in node.inputs] + list(node.control)
            stack.extend((s, False) for s in reversed(sources) if not _back_edge(nodes, node, s, state))
    return order


def _back_edge(nodes: Mapping[str, Node], node: Node, source: str, state: Mapping[str, int]) -> bool:
    if node.op in ("Merge", "RefMerge") and nodes[source].op in ("NextIteration", "RefNextIteration"):
        return True
    if state.get(source) == 1:
        raise ValueError(f"the graph has a cycle through {node.name!r} and {source!r}")
    return source in state


def nodes_equal(a: Node, b: Node) -> bool:
    """Whether two nodes are the same, tensors compared by value."""
    same = (a.name, a.op, a.inputs, a.control) == (b.name, b.op, b.inputs, b.control)
    return same and a.attrs.keys() == b.attrs.keys() and all(_equal(a.attrs[k], b.attrs[k]) for k in a.attrs)


def _equal(a: Attr, b: Attr) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)
