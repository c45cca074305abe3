"""Where a factor for each channel of a tensor can go, so that the model computes the same.

    x ─ Conv2D(w) ─ BiasAdd(b) ─ Relu ─ Conv2D(v)      =>      x ─ Conv2D(w·g) ─ BiasAdd(b·g) ─ Relu ─ Conv2D(v/g)

The tensor before the second convolution is g times what it was. A positive factor for each channel moves through
everything that treats the channels one by one and has no scale of its own: Relu, pools, zero padding, sums. It ends in
constants: output channels of weights, biases, and the scale and shift of a normalization before the tensor; input
channels of weights behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.pattern import Miss
from eightfold.passes.channels.operand import Operand
from eightfold.passes.channels.producers import producers
from eightfold.passes.channels.readers import readers

__all__ = ["Scaling", "scaled", "scaling"]


@dataclass(frozen=True)
class Scaling:
    """How the channels of a tensor can be scaled.

    Attributes:
        tensor: its last axis is the channels.
        channels: how many there are.
        before: what is multiplied, so that the tensor is.
        after: the weights of its readers, which are divided.
        cap: where the tensor is clipped above, or `None`. A factor moves the clip: for a channel that reaches it the
            factor must be 1, and for the others at least 1.
    """

    tensor: Ref
    channels: int
    before: tuple[Operand, ...]
    after: tuple[Operand, ...]
    cap: float | None = None

    @property
    def weights(self) -> tuple[Operand, ...]:
        """Those of the constants that are weights."""
        return tuple(operand for operand in (*self.before, *self.after) if operand.axes)

    def shares(self, factor: Array) -> Iterator[tuple[Operand, Array]]:
        """Each constant with what it is multiplied by."""
        yield from ((operand, factor) for operand in self.before)
        yield from ((operand, 1 / factor) for operand in self.after)


def scaling(model: Model, tensor: Ref) -> Scaling | Miss:
    """How the channels of a tensor can be scaled, or why they cannot."""
    after = readers(model, tensor)
    if isinstance(after, Miss):
        return after
    before = producers(model, tensor, after.channels)
    if isinstance(before, Miss):
        return before
    return Scaling(tensor, after.channels, before.operands, after.operands, before.cap)


def scaled(model: Model, factors: Mapping[Scaling, Array]) -> Model:
    """The model with the channels of some tensors multiplied; it computes the same but for float32 rounding.

    Args:
        model: before.
        factors: positive, [C], for what `scaling` found in this model.
    """
    values: dict[tuple[str, int], Array] = {}
    for place, factor in factors.items():
        for operand, by in place.shares(factor):
            key = (operand.node, operand.position)
            value = values[key] if key in values else operand.value(model.graph)
            values[key] = operand.times(value, by)
    edit = Edit(model)
    for (name, position), value in values.items():
        node = edit.node(Ref(name))
        constant = edit.const(f"{name}/scaled", value)
        inputs = (*node.inputs[:position], constant, *node.inputs[position + 1 :])
        edit.change(node.but(inputs=inputs))
    return edit.done()
