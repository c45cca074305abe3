"""How much error 8 bits make in the results of the weights that read a tensor, predicted from ranges alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, Graph
from eightfold.graph.linear import linear_op
from eightfold.passes.channels.operand import Operand

__all__ = ["Reader", "gain", "predicted_error"]

_RMS = 1 / 3
"""Root mean square of a channel relative to its largest value: of a normal distribution it is a third to a quarter."""


@dataclass(frozen=True)
class Reader:
    """A weight that reads a tensor.

    Attributes:
        operand: where it is; its axes are the channels of the tensor.
        out_axes: the axes of its output channels.
        value: the weight.
    """

    operand: Operand
    out_axes: tuple[int, ...]
    value: Array

    @classmethod
    def of(cls, graph: Graph, operand: Operand, value: Array | None = None) -> Reader:
        """The reader at an operand, with the weight of the graph or another one."""
        layout = linear_op(graph[operand.node])
        assert layout is not None, f"{operand.node} is not linear"
        return cls(operand, layout.out_axes, operand.value(graph) if value is None else value)

    def times(self, factor: Array) -> Reader:
        """The reader with its input channels multiplied."""
        return Reader(self.operand, self.out_axes, self.operand.times(self.value, factor))

    def steps(self, *, per_channel: bool) -> Array:
        """float64, broadcastable to the weight: what one step of its 8-bit codes stands for."""
        others = tuple(axis for axis in range(self.value.ndim) if axis not in self.out_axes)
        largest = np.abs(self.value).max(axis=others if per_channel else None, keepdims=True)
        steps: Array = largest.astype(np.float64) / 127
        return steps


def predicted_error(magnitude: Array, readers: Sequence[Reader], *, per_channel: bool) -> float:
    """The squared error of all output channels of a tensor's readers, up to a common factor.

        sum over w of  (max m / 255)² w²  +  step(w)² (m · rms)²

    The first term is the rounding of the tensor, which has one scale; the second that of the weights. Rounding errors
    are taken to be uniform and independent.

    Args:
        magnitude: [C], the largest absolute value of each channel of the tensor.
        readers: the weights that read it.
        per_channel: whether each output channel of a weight has a scale of its own.
    """
    step = magnitude.max() / 255
    total = 0.0
    for reader in readers:
        weight = reader.value.astype(np.float64)
        signal = np.broadcast_to(reader.operand.spread(magnitude * _RMS, weight), weight.shape)
        total += np.square(step * weight).sum() + np.square(reader.steps(per_channel=per_channel) * signal).sum()
    return float(total)


def gain(magnitude: Array, readers: Sequence[Reader], factor: Array, *, per_channel: bool) -> float:
    """How many times smaller the predicted squared error gets when the tensor's channels are multiplied.

    Args:
        magnitude, readers, per_channel: as in `predicted_error`, before.
        factor: [C], positive.
    """
    before = predicted_error(magnitude, readers, per_channel=per_channel)
    inverse = [reader.times(1 / factor) for reader in readers]
    after = predicted_error(magnitude * factor, inverse, per_channel=per_channel)
    return before / after if after > 0 else 1.0
