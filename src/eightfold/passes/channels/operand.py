"""The constants that take up a factor for each channel, and the ops that let it through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, Graph, Node, Ref

__all__ = ["Operand", "carries"]

_SAME_CHANNELS = {"Relu", "Relu6", "LeakyRelu", "BiasAdd", "Minimum", "Maximum"}
"""Ops that leave an image an image."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A constant that takes up the factors.

    Attributes:
        node, position: the node that reads it, and at which input.
        axes: the axes that make up its channels; none where it is one number a channel.
    """

    node: str
    position: int
    axes: tuple[int, ...] = ()

    def value(self, graph: Graph) -> Array:
        """The constant in a graph."""
        return graph[graph[self.node].inputs[self.position]].value

    def times(self, value: Array, factor: Array) -> Array:
        """The constant with each channel multiplied by its factor, in the dtype that it has."""
        result: Array = (value * self.spread(factor, value)).astype(value.dtype)
        return result

    def magnitudes(self, value: Array) -> Array:
        """[C]: the largest absolute value of each channel."""
        others = tuple(axis for axis in range(value.ndim) if axis not in self.axes)
        result: Array = np.abs(value).max(axis=others).reshape(-1)
        return result

    def spread(self, factor: Array, value: Array) -> Array:
        """One number a channel in a shape that broadcasts to the constant."""
        if not self.axes:
            return factor
        return factor.reshape([size if axis in self.axes else 1 for axis, size in enumerate(value.shape)])


def carries(graph: Graph, node: Node) -> bool:
    """Whether a node moves or averages the numbers of each channel and keeps the channels last."""
    if node.op in ("MaxPool", "AvgPool"):
        single = (node.attrs["ksize"][3], node.attrs["strides"][3]) == (1, 1)
        return single and bool(node.attrs.get("data_format", b"NHWC") == b"NHWC")
    if node.op == "Pad":
        pads = graph.constant(node.inputs[1])
        return pads is not None and not np.any(pads[-1])
    if node.op == "Mean":
        axes = graph.constant(node.inputs[1])
        return axes is not None and sorted(axes.reshape(-1).tolist()) == [1, 2] and _is_image(graph, node.inputs[0])
    return False


def _is_image(graph: Graph, ref: Ref) -> bool:
    """Whether a tensor surely has the axes batch, height, width and channels."""
    node = graph[ref]
    while node.op in _SAME_CHANNELS:
        node = graph[node.inputs[0]]
    return node.op in ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MaxPool", "AvgPool")
