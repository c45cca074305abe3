"""What is common to the ops that multiply by a constant weight: which input is what, which axis is which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, Graph, Node, Ref

__all__ = ["LINEAR", "LinearOp", "channel_vector", "linear_op"]


@dataclass(frozen=True)
class LinearOp:
    """Where a linear op keeps its operands.

    Attributes:
        data, weight: input positions.
        out_axes, in_axes: the weight's axes that make up the output and input channels; for a depthwise
            convolution they overlap, as each output channel reads one input channel.
    """

    data: int
    weight: int
    out_axes: tuple[int, ...]
    in_axes: tuple[int, ...]

    def channels(self, weight: Array) -> int:
        """Output channels of a weight."""
        return int(np.prod([weight.shape[axis] for axis in self.out_axes]))

    def scaled_out(self, weight: Array, scale: Array) -> Array:
        """The weight with each output channel multiplied."""
        return weight * self._spread(weight, scale, self.out_axes)

    def scaled_in(self, weight: Array, scale: Array) -> Array:
        """The weight with each input channel multiplied."""
        return weight * self._spread(weight, scale, self.in_axes)

    def _spread(self, weight: Array, scale: Array, axes: tuple[int, ...]) -> Array:
        shape = [weight.shape[axis] if axis in axes else 1 for axis in range(weight.ndim)]
        return np.broadcast_to(scale, (int(np.prod(shape)),)).reshape(shape).astype(weight.dtype)


LINEAR: dict[str, LinearOp] = {
    "Conv2D": LinearOp(0, 1, (3,), (2,)),
    "DepthwiseConv2dNative": LinearOp(0, 1, (2, 3), (2,)),
    "Conv2DBackpropInput": LinearOp(2, 1, (2,), (3,)),
    "Conv3D": LinearOp(0, 1, (4,), (3,)),
    "MatMul": LinearOp(0, 1, (1,), (0,)),
}


def linear_op(node: Node) -> LinearOp | None:
    """The layout of a linear op with its channels last, or `None` for any other node."""
    if node.op == "MatMul":
        if node.attrs.get("transpose_a"):
            return None
        return LinearOp(0, 1, (0,), (1,)) if node.attrs.get("transpose_b") else LINEAR["MatMul"]
    if node.attrs.get("data_format", b"NHWC") not in (b"NHWC", b"NDHWC"):
        return None
    return LINEAR.get(node.op)


def channel_vector(graph: Graph, ref: Ref, channels: int | None = None) -> Array | None:
    """A constant that varies along the last axis only, as a vector [C] (or [1] for one number), else `None`."""
    value = graph.constant(ref)
    if value is None or value.dtype.kind != "f":
        return None
    if value.size > 1 and value.shape[-1] != value.size:
        return None
    if channels is not None and value.size not in (1, channels):
        return None
    return value.reshape(-1)
