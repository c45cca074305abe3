"""Cross-layer equalization: the channels of the tensor between two convolutions fill their common range alike.

    x ─ Conv2D(w) ─ BiasAdd(b) ─ Relu ─ Conv2D(v)      =>      x ─ Conv2D(w·g) ─ BiasAdd(b·g) ─ Relu ─ Conv2D(v/g)

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
arXiv:1906.04721, section 4.1. There a factor is g = sqrt(r2 / r1), with r1 and r2 the ranges of the channel's weights
before and behind the tensor, pair after pair until nothing changes. The ranges here are those that share a scale with
other channels, for only these lose precision:

- before: the channel's range in the tensor itself, which has one scale; and where weights have one scale, its weights,
  of both the geometric mean. Weights with a scale for each output channel do not feel the factor.
- behind: the channel's weights relative to the scale of the output channel that they go to. A depthwise convolution
  with a scale for each channel has one weight range a scale: its tensor is equalized in full.

A tensor is left alone where the error in the results of its readers is not predicted to fall: with weights that have a
scale for each channel, channels of nearly the same size have nothing to win.

**Clips.** A factor moves Relu6's clip from 6 to 6/g, and one clip for a tensor cannot express that. So the Relu6 stays.
A channel whose calibrated maximum reaches the clip keeps its factor of 1; the others only grow, until they reach the
tensor's range at most. Their clip is then at or above their calibrated maximum, where an 8-bit tensor would saturate.
The model computes the same on data of the range that calibration saw, and clips what goes beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eightfold.graph.ir import Array, Graph, Ref
from eightfold.graph.linear import linear_op
from eightfold.graph.model import Model
from eightfold.passes.channels.error import Reader, gain
from eightfold.passes.channels.operand import Operand
from eightfold.passes.channels.readers import source
from eightfold.passes.channels.scaling import Scaling, scaled, scaling

__all__ = ["equalization", "equalize", "equalized_tensors"]

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D"}
_ROUNDS = 50
_SETTLED = 1e-2
"""Change of a factor's logarithm below which nothing changes any more."""
_PAYS = 1.25
"""How many times smaller the predicted squared error must become: a decibel, for the prediction is a rough one."""
_LARGEST = 1e4
"""Factors beyond this one would follow channels that are all but dead."""
_REACHES = 0.999
"""Share of the clip from which on a channel counts as clipped."""


def equalized_tensors(model: Model) -> dict[Ref, int]:
    """The tensors whose channels `equalize` must know, with the number of these."""
    return {place.tensor: place.channels for place in _places(model)}


def equalize(model: Model, magnitudes: Mapping[Ref, Array], *, per_channel: bool = True) -> Model:
    """The model with the channels of the tensors between convolutions equalized.

    Args:
        model: from `export`.
        magnitudes: [C], the calibrated largest absolute value of each channel, of `equalized_tensors`; tensors
            that are not among them are left alone.
        per_channel: whether weights will have one scale for each output channel.

    Returns:
        A model that computes the same on data within these ranges, but for float32 rounding.
    """
    return scaled(model, equalization(model, magnitudes, per_channel=per_channel))


def equalization(model: Model, magnitudes: Mapping[Ref, Array], *, per_channel: bool = True) -> dict[Scaling, Array]:
    """The factors that `equalize` applies: [C] for each place where they pay."""
    weights = _Weights(model.graph, per_channel)
    known = [(place, magnitudes[place.tensor]) for place in _places(model) if place.tensor in magnitudes]
    pairs = [_Pair(place, magnitude) for place, magnitude in known if magnitude.any()]
    for _ in range(_ROUNDS):
        if max((pair.balance(weights) for pair in pairs), default=0.0) < _SETTLED:
            break
    return {pair.place: pair.factor for pair in pairs if pair.gain(weights) > _PAYS}


def _places(model: Model) -> list[Scaling]:
    """The tensors between weights of which one at least is a convolution's."""
    found: dict[Ref, Scaling] = {}
    for node in model.graph:
        layout = linear_op(node)
        if layout is None or model.graph.constant(node.inputs[layout.weight]) is None:
            continue
        tensor = source(model.graph, node.inputs[layout.data])
        place = None if tensor in found else scaling(model, tensor)
        if isinstance(place, Scaling) and _between_convolutions(model.graph, place):
            found[tensor] = place
    return list(found.values())


def _between_convolutions(graph: Graph, place: Scaling) -> bool:
    ops = {graph[operand.node].op for operand in place.weights}
    return any(operand.axes for operand in place.before) and bool(ops & _CONVOLUTIONS)


class _Weights:
    """The weights as the factors found so far make them."""

    def __init__(self, graph: Graph, per_channel: bool) -> None:
        self._graph = graph
        self.per_channel = per_channel
        self._values: dict[tuple[str, int], Array] = {}

    def reader(self, operand: Operand) -> Reader:
        return Reader.of(self._graph, operand, self._values.get((operand.node, operand.position)))

    def multiply(self, place: Scaling, factor: Array) -> None:
        for operand, by in place.shares(factor):
            if operand.axes:
                self._values[operand.node, operand.position] = operand.times(self.reader(operand).value, by)

    def ranges(self, operands: Iterable[Operand]) -> Array:
        """[C]: each channel's largest weight in steps of the scale that it is under, over several weights."""
        found = []
        for reader in map(self.reader, operands):
            steps = reader.steps(per_channel=self.per_channel)
            found.append(reader.operand.magnitudes(reader.value / np.where(steps > 0, steps, 1.0)))
        result: Array = np.maximum.reduce(found)
        return result


class _Pair:
    """A tensor between weights, with the factors found so far."""

    def __init__(self, place: Scaling, magnitude: Array) -> None:
        self.place = place
        self.factor: Array = np.ones(place.channels)
        self._magnitude = np.minimum(magnitude.astype(np.float64), place.cap or np.inf)

    def balance(self, weights: _Weights) -> float:
        """One step of the paper's iteration; returns the largest change of a factor's logarithm."""
        before = self._magnitude * self.factor
        if not weights.per_channel:
            before = np.sqrt(before * weights.ranges(operand for operand in self.place.before if operand.axes))
        behind = weights.ranges(self.place.after)
        alive = (before > 0) & (behind > 0)
        if not alive.any():
            return 0.0
        wanted = self._allowed(self.factor * np.sqrt(behind / np.where(alive, before, 1.0)), alive)
        change = wanted / self.factor
        weights.multiply(self.place, change)
        self.factor = wanted
        return float(np.abs(np.log(change)).max())

    def _allowed(self, wanted: Array, alive: Array) -> Array:
        """Factors that leave the tensor its range and its clip."""
        range_kept = self._magnitude.max() / (wanted * self._magnitude)[alive].max()
        wanted = np.clip(wanted * range_kept, 1 / _LARGEST, _LARGEST)
        if self.place.cap is not None:
            wanted = np.maximum(wanted, 1.0)
            alive = alive & (self._magnitude < _REACHES * self.place.cap)
        return np.where(alive, wanted, 1.0)

    def gain(self, weights: _Weights) -> float:
        """How many times smaller the factors make the error in the results of the tensor's readers."""
        before = [weights.reader(operand).times(self.factor) for operand in self.place.after]
        return gain(self._magnitude, before, self.factor, per_channel=weights.per_channel)
