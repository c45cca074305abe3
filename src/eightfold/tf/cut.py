"""Signatures may be fed with tensors that the graph computes itself; there it is cut.

x ─ Decode ─ MatMul ─ y, fed at Decode      =>      Placeholder ─ MatMul ─ y
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.model import Signature, TensorSpec

__all__ = ["cut_at_inputs"]


def cut_at_inputs(graph: Graph, signatures: Mapping[str, Signature]) -> tuple[Graph, dict[str, Signature]]:
    """The graph with a placeholder for every input; of a name with the tensor it stands for, where one can be.

    Of several signatures, one that is cut gets nodes of its own: the others may compute what it is fed with.
    """
    located = {}
    for name, signature in signatures.items():
        inputs = signature.inputs.values()
        cut = {spec.ref: spec for spec in inputs if not graph[spec.ref].op.startswith("Placeholder")}
        located[name] = signature
        if cut:
            prefix = "" if len(signatures) == 1 else _free(f"{name}/", graph)
            graph, located[name] = _cut(graph, signature, cut, prefix)
    return graph, located


def _free(prefix: str, graph: Graph) -> str:
    while any(node.name.startswith(prefix) for node in graph):
        prefix = f"{prefix[:-1]}_/"
    return prefix


def _cut(graph: Graph, signature: Signature, cut: Mapping[Ref, TensorSpec], prefix: str) -> tuple[Graph, Signature]:
    moved = {ref: Ref(prefix + _name(ref, graph)) for ref in cut}
    after = _readers(graph, cut)
    renamed = {name: prefix + name for name in after}

    def new(ref: Ref) -> Ref:
        return moved.get(ref) or Ref(renamed.get(ref.node, ref.node), ref.port)

    placed = {
        moved[ref].node: Node(moved[ref].node, "Placeholder", (), {"dtype": spec.dtype, "shape": spec.shape})
        for ref, spec in cut.items()
    }
    for name in after:
        node = graph[name]
        placed.setdefault(
            renamed[name],
            node.but(
                name=renamed[name],
                inputs=tuple(map(new, node.inputs)),
                control=tuple(renamed.get(other, other) for other in node.control),
            ),
        )
    kept = (node for node in graph if node.name not in placed)
    return graph.with_nodes([*placed.values(), *kept]), signature.but(
        inputs={key: replace(spec, ref=new(spec.ref)) for key, spec in signature.inputs.items()},
        outputs={key: replace(spec, ref=new(spec.ref)) for key, spec in signature.outputs.items()},
    )


def _name(ref: Ref, graph: Graph) -> str:
    """The node's own name where the tensor is all that anybody reads of it."""
    others = any(other.node == ref.node and other.port != ref.port for other in graph.users)
    return f"inputs/{ref.node}_{ref.port}" if ref.port or others else ref.node


def _readers(graph: Graph, tensors: Iterable[Ref]) -> list[str]:
    """The nodes that depend on some tensors, in order."""
    found = {node.name for ref in tensors for node in graph.users_of(ref)}
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        reading = {node.name for ref, users in graph.users.items() if ref.node == name for node, _ in users}
        reading |= {node.name for node in graph.control_users.get(name, ())}
        waiting.extend(reading - found)
        found |= reading
    return sorted(found, key=graph.position.__getitem__)
