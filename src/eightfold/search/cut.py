"""The part of a graph that differs from another graph, cut off so that it can be run alone.

base:   x ─ conv1 ─ conv2 ─ conv3 ─ y                          conv1 ┐
graph:  x ─ conv1 ─ Dequantize ─ conv2 ─ Quantize ─ ...   =>         placeholder ─ Dequantize ─ conv2 ─ ...

What comes before is computed once, by the base graph, for all candidates that differ from it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eightfold.graph.ir import DType, Graph, Node, Ref, Shape

__all__ = ["Base", "Cut", "cut_off"]

_FRAMES = {"Enter", "Exit", "Switch", "Merge", "NextIteration", "LoopCond"}


@dataclass(frozen=True)
class Base:
    """A graph with what others need in order to be compared with it.

    Attributes:
        graph: the graph.
        digests: of its nodes, by name.
        tensors: dtype and shape of its tensors.
        moving: the names of the nodes that depend on an input.
    """

    graph: Graph
    digests: Mapping[str, str]
    tensors: Mapping[Ref, tuple[DType, Shape]]
    moving: frozenset[str]

    @classmethod
    def of(
        cls,
        graph: Graph,
        inputs: Iterable[Ref],
        digests: Mapping[str, str],
        tensors: Mapping[Ref, tuple[DType, Shape]],
    ) -> Base:
        """The base with what follows from its inputs."""
        moving = {ref.node for ref in inputs}
        for node in graph:
            if any(ref.node in moving for ref in node.inputs):
                moving.add(node.name)
        return cls(graph, digests, tensors, frozenset(moving))


@dataclass(frozen=True)
class Cut:
    """A part of a graph.

    Attributes:
        graph: with a placeholder for each tensor that it takes from the base graph.
        feeds: the placeholders, by the tensor of the base graph.
        outputs: for each output asked for, where it is computed: in this part, or unchanged (`None`).
    """

    graph: Graph
    feeds: Mapping[Ref, Ref]
    outputs: tuple[Ref | None, ...]


def cut_off(
    graph: Graph, digests: Mapping[str, str], base: Base, outputs: Sequence[Ref], init: Sequence[str] = ()
) -> Cut:
    """The part of a graph, up to its outputs, that computes what the base graph does not.

    Args:
        graph: a graph made from the same model as the base.
        digests: of its nodes, by name.
        base: what it is compared with.
        outputs: the tensors wanted.
        init: nodes that fill tables, which come along.
    """
    known = {digest: name for name, digest in base.digests.items()}
    loops = any(node.op in _FRAMES for node in graph)  # a tensor inside a loop cannot be fed
    same = (node for node in graph if digests[node.name] in known and not (loops and node.inputs))
    parts = _Parts(graph, base, {node.name: known[digests[node.name]] for node in same})
    located = tuple(parts.output(ref) for ref in outputs)
    for name in init:
        parts.add(name)
    return Cut(graph.with_nodes(parts.nodes.values()), parts.feeds, located)


class _Parts:
    """Copies what is needed, from the outputs backwards."""

    def __init__(self, graph: Graph, base: Base, twins: Mapping[str, str]) -> None:
        self._graph, self._base, self._twins = graph, base, twins
        self.nodes: dict[str, Node] = {}
        self.feeds: dict[Ref, Ref] = {}

    def output(self, ref: Ref) -> Ref | None:
        if self._fed(ref):
            return None
        self.add(ref.node)
        return ref

    def _fed(self, ref: Ref) -> bool:
        """Whether the base graph computes the tensor from its inputs."""
        return self._twins.get(ref.node, "") in self._base.moving

    def add(self, name: str) -> None:
        waiting = [name]
        while waiting:
            node = self._graph[waiting.pop()]
            if node.name in self.nodes:
                continue
            inputs = tuple(self._placeholder(source) if self._fed(source) else source for source in node.inputs)
            self.nodes[node.name] = node.but(inputs=inputs, control=self._control(node))
            waiting += [source.node for source in node.inputs if not self._fed(source)]
            waiting += self.nodes[node.name].control

    def _control(self, node: Node) -> tuple[str, ...]:
        """Without what only orders the computation of the base."""
        return tuple(name for name in node.control if not self._fed(Ref(name)) and name not in self._base.moving)

    def _placeholder(self, ref: Ref) -> Ref:
        twin = Ref(self._twins[ref.node], ref.port)
        if twin not in self.feeds:
            name = f"{ref.node}/fed_{ref.port}"
            dtype, shape = self._base.tensors[twin]
            attrs = {"dtype": dtype, "shape": shape}
            self.nodes[name] = Node(name, "Placeholder", (), attrs)
            self.feeds[twin] = Ref(name)
        return self.feeds[twin]
