"""Computes some nodes of a graph in bfloat16.

    x ─ Conv2D(w) ─ Relu ─ Conv2D(v) ─ y        the two in the middle are chosen

=>  x ─ Cast ─ Conv2D(w') ─ Relu ─ Cast ─ Conv2D(v) ─ y

bfloat16 is float32 with 8 bits of mantissa instead of 24: the same range, so nothing has to be calibrated. Weights take
half the memory, and products are summed in float32. Source: D. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning
Training", arXiv:1905.12322, 2019.
"""

from __future__ import annotations

import importlib
from collections.abc import Container, Mapping
from dataclasses import replace

import numpy as np

from eightfold.graph.edit import const_node
from eightfold.graph.ir import DType, Graph, Node, Ref
from eightfold.graph.model import Model, Signature

__all__ = ["DATA_INPUTS", "to_bfloat16"]

_FLOAT, _BFLOAT16 = DType("float32"), DType("bfloat16")
_SHAPE_OPS = {"Shape", "Size", "Rank"}

_UNARY = (
    *("Elu", "Erf", "Erfc", "LeakyRelu", "Neg", "Relu", "Relu6", "Selu", "Sigmoid", "Softplus", "Tanh"),
    *("AvgPool", "MaxPool", "Mean", "Sum"),
    *("ExpandDims", "Identity", "MirrorPad", "Pad", "Reshape", "ResizeNearestNeighbor", "Slice", "Squeeze"),
    *("DepthToSpace", "SpaceToDepth", "StridedSlice", "Tile", "Transpose"),
)
_BINARY = (
    *("Conv2D", "DepthwiseConv2dNative", "MatMul"),
    *("Add", "AddV2", "BiasAdd", "Maximum", "Minimum", "Mul", "Pow", "Sub"),
)
DATA_INPUTS: Mapping[str, int] = {**dict.fromkeys(_UNARY, 1), **dict.fromkeys(_BINARY, 2), "ConcatV2": -1}
"""The ops that have a bfloat16 form on CPUs, and how many of their first inputs hold numbers (-1: all but the last);
the others are axes and shapes."""


def to_bfloat16(model: Model, names: Container[str]) -> Model:
    """The model with some of its float32 nodes computed in bfloat16.

    A tensor between two such nodes stays in bfloat16. Every other reader, signature outputs included, gets float32.
    `Dequantize` goes on giving float32: its bfloat16 form is slower than itself with a Cast (9.1 ms against 5.2 ms for
    6.4 million codes).

    Args:
        model: any graph; what reads codes takes no part.
        names: the nodes. Those of ops outside `DATA_INPUTS`, or of another dtype, stay as they are.
    """
    chosen = {node.name for node in model.graph if node.name in names and _possible(node)}
    if not chosen:
        return model
    writer = _Writer(model.graph, chosen)
    nodes = [writer.written(node) for node in model.graph]
    signatures = {name: _signature(signature, writer) for name, signature in model.signatures.items()}
    graph = model.graph.with_nodes([*nodes, *writer.added.values()])
    return model.but(graph=graph, signatures=signatures).pruned()


def _possible(node: Node) -> bool:
    return node.op in DATA_INPUTS and node.attrs.get("T") == _FLOAT


def _signature(signature: Signature, writer: _Writer) -> Signature:
    outputs = {key: replace(spec, ref=writer.wide(spec.ref)) for key, spec in signature.outputs.items()}
    return signature.but(outputs=outputs)


class _Writer:
    """Gives each tensor in both forms, and writes the one that is missing once."""

    def __init__(self, graph: Graph, chosen: set[str]) -> None:
        self._graph, self._chosen = graph, chosen
        self.added: dict[Ref, Node] = {}

    def written(self, node: Node) -> Node:
        """A node of the graph as it is in the new one."""
        if node.name in self._chosen:
            count = DATA_INPUTS[node.op]
            inputs = (*map(self._narrow, node.inputs[:count]), *map(self.wide, node.inputs[count:]))
            return node.but(inputs=inputs).with_attrs(T=_BFLOAT16)
        if node.op in _SHAPE_OPS and node.inputs[0].node in self._chosen:
            return node.with_attrs(T=_BFLOAT16)
        return node.but(inputs=tuple(map(self.wide, node.inputs)))

    def wide(self, ref: Ref) -> Ref:
        """A tensor as float32, if it is one of those chosen; any other as it is."""
        return self._cast(ref, _BFLOAT16, _FLOAT) if ref.node in self._chosen else ref

    def _narrow(self, ref: Ref) -> Ref:
        """A float32 tensor as bfloat16."""
        return ref if ref.node in self._chosen else self._cast(ref, _FLOAT, _BFLOAT16)

    def _cast(self, ref: Ref, source: DType, target: DType) -> Ref:
        if ref not in self.added:
            name = self._unique(f"{ref.node}/{target}")
            types = {"SrcT": source, "DstT": target, "Truncate": False}
            self.added[ref] = self._constant(ref, name) or Node(name, "Cast", (ref,), types)
        return self.added[ref].ref

    def _constant(self, ref: Ref, name: str) -> Node | None:
        """A constant rounded to nearest, half to even, and stored so."""
        if (value := self._graph.constant(ref)) is None:
            return None
        importlib.import_module("ml_dtypes")  # comes with TensorFlow; gives NumPy bfloat16
        rounded = const_node(name, value.astype(np.dtype("bfloat16")), _BFLOAT16)
        return rounded.but(control=self._graph[ref].control)

    def _unique(self, name: str) -> str:
        taken = {node.name for node in self.added.values()}
        candidate, count = name, 1
        while candidate in self._graph or candidate in taken:
            candidate, count = f"{name}_{count}", count + 1
        return candidate
