"""Collects changes to a model and applies them all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from eightfold.graph.ir import Attr, DType, Graph, Node, Ref
from eightfold.graph.model import Model, Signature

__all__ = ["Edit", "const_node"]


def const_node(name: str, value: npt.ArrayLike, dtype: DType | None = None) -> Node:
    """A `Const` node; `dtype` is needed only for quantized types, which NumPy does not have."""
    array = np.asarray(value)
    return Node(name, "Const", (), {"dtype": dtype or DType(array.dtype.name), "value": array})


class Edit:
    """Changes to a model: nodes added, nodes changed, tensors redirected.

        edit = Edit(model)
        relu = edit.add("Relu", "conv/Relu", (conv,), T=DType("float32"))
        edit.redirect(old, relu)
        model = edit.done()

    `done` applies everything in one pass and drops the nodes that no signature needs any more.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._nodes = {node.name: node for node in model.graph}
        self._redirects: dict[Ref, Ref] = {}
        self._changed = False

    @property
    def graph(self) -> Graph:
        """The graph as it was before the edit."""
        return self._model.graph

    def add(self, op: str, name: str, inputs: Iterable[Ref] = (), attrs: Mapping[str, Attr] | None = None) -> Ref:
        """Adds a node under a name made unique, and returns its first output."""
        return self._put(Node(self.unique(name), op, tuple(inputs), dict(attrs or {})))

    def const(self, name: str, value: npt.ArrayLike, dtype: DType | None = None) -> Ref:
        """Adds a constant under a name made unique."""
        return self._put(const_node(self.unique(name), value, dtype))

    def change(self, node: Node) -> None:
        """Puts a node in the place of the one of its name."""
        if node.name not in self._nodes:
            raise KeyError(f"there is no node {node.name!r} to change")
        self._put(node)

    def redirect(self, old: Ref, new: Ref) -> None:
        """Lets every reader of `old`, signature outputs included, read `new`."""
        self._redirects[old] = new
        self._changed = True

    def node(self, ref: Ref) -> Node:
        """A node as it stands in this edit."""
        return self._nodes[self.resolve(ref).node]

    def resolve(self, ref: Ref) -> Ref:
        """Where a tensor's readers will read once the edit is done."""
        while ref in self._redirects:
            ref = self._redirects[ref]
        return ref

    def unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._nodes:
            candidate, count = f"{name}_{count}", count + 1
        return candidate

    def done(self) -> Model:
        """The edited model; the same object when nothing was changed."""
        if not self._changed:
            return self._model
        nodes = [node.but(inputs=tuple(self._read(node, ref) for ref in node.inputs)) for node in self._nodes.values()]
        signatures = {name: self._signature(s) for name, s in self._model.signatures.items()}
        return self._model.but(graph=self.graph.with_nodes(nodes), signatures=signatures).pruned()

    def _put(self, node: Node) -> Ref:
        self._nodes[node.name] = node
        self._changed = True
        return node.ref

    def _read(self, node: Node, ref: Ref) -> Ref:
        resolved = self.resolve(ref)
        return ref if resolved.node == node.name else resolved

    def _signature(self, signature: Signature) -> Signature:
        outputs = {
            key: spec if spec.ref not in self._redirects else type(spec)(self.resolve(spec.ref), spec.dtype, spec.shape)
            for key, spec in signature.outputs.items()
        }
        return signature.but(outputs=outputs)
