"""What a tensor is computed from, as a digest: equal digests, equal tensors, whatever the nodes are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from eightfold.graph.ir import Array, Attr, Func, Graph, Node
from eightfold.graph.model import Model

__all__ = ["Digests", "combined"]

_SIZE = 16


def combined(*parts: object) -> str:
    """One digest of some texts or values that print what they are."""
    return hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=_SIZE).hexdigest()


class Digests:
    """Digests of nodes by their op, attributes and inputs.

    Args:
        graphs: whose arrays are remembered: other graphs share most of them.
    """

    def __init__(self, *graphs: Graph) -> None:
        self._arrays: dict[int, tuple[Array, str]] = {}
        for graph in graphs:
            for node in graph:
                if node.op == "Const":
                    self._arrays[id(node.value)] = (node.value, _content(node.value))

    def of_nodes(self, graph: Graph) -> dict[str, str]:
        """The digest of each node, by name. Names count only where nothing else tells nodes apart: of inputs."""
        found: dict[str, str] = {}
        for node in graph:
            inputs = [f"{found[ref.node]}:{ref.port}" for ref in node.inputs if ref.node in found]
            own = node.name if (not node.inputs and node.op != "Const") or len(inputs) < len(node.inputs) else ""
            found[node.name] = combined(own, node.op, *self._attributes(node), *inputs)
        return found

    def of_model(self, model: Model) -> str:
        """One digest of what all signatures of a model compute."""
        nodes = self.of_nodes(model.graph)
        bound: list[object] = []
        for name, signature in model.signatures.items():
            for specs in (signature.inputs, signature.outputs):
                bound += [(name, key, nodes[spec.ref.node], spec.ref.port) for key, spec in specs.items()]
        return combined(*bound)

    def _attributes(self, node: Node) -> Iterable[str]:
        return (f"{key}={self._value(node.attrs[key])}" for key in sorted(node.attrs))

    def _value(self, value: Attr) -> Any:
        if isinstance(value, Func):
            return (value.name, [(key, self._value(attr)) for key, attr in sorted(value.attrs.items())])
        if not isinstance(value, np.ndarray):
            return repr(value)
        known = self._arrays.get(id(value))
        return _content(value) if known is None else known[1]


def _content(array: Array) -> str:
    content = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=_SIZE).hexdigest()
    return f"{array.dtype}{array.shape}{content}"
