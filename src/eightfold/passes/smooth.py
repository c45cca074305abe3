"""SmoothQuant: outliers in the input of matrix products move into their weights, where a scale each channel holds them.

    x ─ LayerNorm(a, b) ─┬ MatMul(q)            x ─ LayerNorm(a/s, b/s) ─┬ MatMul(s·q)
                         ├ MatMul(k)      =>                             ├ MatMul(s·k)
                         └ MatMul(v)                                     └ MatMul(s·v)

Source: G. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
ICML 2023, arXiv:2211.10438, equation 4: s = max|x|^alpha / max|w|^(1-alpha) for each input channel, w over all readers.

1/s is folded into what computes the tensor: the scale and shift of a normalization, or the weight and bias of a product
before it. A tensor for which there is no such place is left alone: a multiplication by itself would cost a pass over
it. So is one for which the error is not predicted to fall.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eightfold.graph.ir import Array, Ref
from eightfold.graph.linear import linear_op
from eightfold.graph.model import Model
from eightfold.graph.pattern import Miss
from eightfold.passes.channels.error import Reader, gain
from eightfold.passes.channels.readers import source
from eightfold.passes.channels.scaling import Scaling, scaled, scaling

__all__ = ["smooth", "smoothed_tensors", "smoothing", "unsmoothed"]

_PAYS = 1.25
"""How many times smaller the predicted squared error must become: a decibel."""


def smoothed_tensors(model: Model) -> dict[Ref, int]:
    """The tensors whose channels `smooth` must know, with the number of these."""
    return {tensor: place.channels for tensor, place in _inputs(model).items() if isinstance(place, Scaling)}


def unsmoothed(model: Model) -> dict[Ref, str]:
    """The inputs of matrix products that cannot be smoothed, and why not."""
    return {tensor: place.reason for tensor, place in _inputs(model).items() if isinstance(place, Miss)}


def smooth(model: Model, magnitudes: Mapping[Ref, Array], *, alpha: float = 0.5, per_channel: bool = True) -> Model:
    """The model with the inputs of its matrix products smoothed.

    Args:
        model: from `export`.
        magnitudes: [C], the calibrated largest absolute value of each channel, of `smoothed_tensors`; tensors that
            are not among them are left alone.
        alpha: 0 leaves the spread of the channels to the tensor, 1 moves all of it into the weights.
        per_channel: whether weights will have one scale for each output channel.

    Returns:
        A model that computes the same but for float32 rounding.
    """
    return scaled(model, smoothing(model, magnitudes, alpha=alpha, per_channel=per_channel))


def smoothing(
    model: Model, magnitudes: Mapping[Ref, Array], *, alpha: float = 0.5, per_channel: bool = True
) -> dict[Scaling, Array]:
    """The factors 1/s that `smooth` applies: [C] for each place where they pay."""
    found: dict[Scaling, Array] = {}
    for tensor, place in _inputs(model).items():
        if isinstance(place, Scaling) and tensor in magnitudes:
            readers = [Reader.of(model.graph, operand) for operand in place.after]
            factor = _factor(magnitudes[tensor], readers, alpha)
            if gain(magnitudes[tensor], readers, factor, per_channel=per_channel) > _PAYS:
                found[place] = factor
    return found


def _inputs(model: Model) -> dict[Ref, Scaling | Miss]:
    """The inputs of the products with constant matrices, and how each can be scaled."""
    graph = model.graph
    found: dict[Ref, Scaling | Miss] = {}
    for node in graph:
        layout = linear_op(node)
        if node.op != "MatMul" or layout is None or graph.constant(node.inputs[layout.weight]) is None:
            continue
        tensor = source(graph, node.inputs[layout.data])
        if tensor not in found and graph[tensor].op != "Placeholder":
            found[tensor] = _smoothable(model, tensor)
    return found


def _smoothable(model: Model, tensor: Ref) -> Scaling | Miss:
    place = scaling(model, tensor)
    if isinstance(place, Miss):
        return place
    other = next((w.node for w in place.after if model.graph[w.node].op != "MatMul"), None)
    if other is not None:
        return Miss(f"{tensor} is also read by {other}, which is no matrix product")
    return place if place.cap is None else Miss(f"{tensor} is clipped at {place.cap:g}, which a factor would move")


def _factor(magnitude: Array, readers: Iterable[Reader], alpha: float) -> Array:
    """float64 [C]: 1/s; 1 where a channel of the tensor or its weights are all zero."""
    weight = np.maximum.reduce([reader.operand.magnitudes(reader.value) for reader in readers])
    alive = (magnitude > 0) & (weight > 0)
    s = np.where(alive, magnitude, 1.0) ** alpha / np.where(alive, weight, 1.0) ** (1 - alpha)
    result: Array = 1 / s
    return result
