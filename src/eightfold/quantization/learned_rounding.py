"""Weights rounded so that what each layer computes is closest to what it computes in float.

Every convolution and matrix product with constant weights is looked at by itself, on the inputs that it has in the
float graph: their second moments are collected layer by layer (`calibration/gram.py`), and the codes follow from them
by linear algebra (`calibration/rounding.py`). The scales stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from eightfold.calibration.collect import Feeds
from eightfold.calibration.gram import Gram, collect_grams, gram_bytes, gram_groups
from eightfold.calibration.rounding import learned_codes
from eightfold.graph.ir import Array, Node, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.calibrate import make_runner
from eightfold.quantization.export import Progress
from eightfold.quantization.plan import Plan, Step
from eightfold.rewrites.correction import Correction, Corrections
from eightfold.rewrites.weights import quantize_weight
from eightfold.system.instructions import weight_bits

__all__ = ["learn_rounding"]

_MEMORY = 256 << 20
"""Bytes of Gram matrices that are collected at a time; what is left is collected in another run over the data."""

_LARGEST = 1 << 30
"""Bytes of the largest Gram matrix that is collected. A layer of more inputs, about 9 500, stays rounded to nearest."""

_AXES = {"Conv2D": (3,), "DepthwiseConv2dNative": (2, 3), "MatMul": (1,)}
"""The axes of the weight that make up the output channels, by op."""


@dataclass(frozen=True)
class _Layer:
    """The product of a step.

    Attributes:
        step: the step's name.
        node: the float node.
        weight: as the 8-bit kernel takes it, a matrix as [in, out].
    """

    step: str
    node: Node
    weight: Array


def learn_rounding(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range],
    batches: Callable[[], Iterable[Feeds]],
    corrections: Corrections,
    tell: Progress,
) -> Corrections:
    """The corrections with the codes of all weights among them whose rounding the recipe wants learned.

    A layer is left out where its Gram matrix would not fit into a gigabyte: the first dense layer of a VGG.

    With bias correction to come, which takes away the mean of the error, what counts is its variance: then the
    covariance of the inputs takes the place of their second moment.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit, and the recipe.
        ranges: not needed here.
        batches: gives the data anew at each call; it is called once for every 256 MB of Gram matrices.
        corrections: what was learned before.
        tell: told how many layers are rounded.

    Raises:
        DataError: there is no batch, or a tensor becomes NaN or infinite.
    """
    del ranges
    layers = {layer.node.name: layer for step in plan.steps if (layer := _layer(plan, step))}
    if not layers:
        return corrections
    bits = plan.recipe.weight_bits or weight_bits()
    found: dict[str, Correction] = {}
    for group in gram_groups(model.graph, (layer.node for layer in layers.values()), _MEMORY):
        grams = collect_grams(model.graph, group, plan.facts.shape, batches, make_runner(model))
        for node in group:
            tell("round", len(found), len(layers))
            layer = layers[node.name]
            codes = _rounded(layer, grams.pop(node.name), plan, bits)
            found[layer.step] = replace(corrections.get(layer.step, Correction()), codes=codes)
    tell("round", len(found), len(layers))
    return {**corrections, **found}


def _layer(plan: Plan, step: Step) -> _Layer | None:
    """The product of a step, if it has one, the recipe wants its rounding learned, and there is memory for it."""
    node = next((node for node in step.match.named.values() if node.op in _AXES), None)
    if node is None or plan.recipe.settings_for(node.name, node.op).rounding != "learned":
        return None
    if gram_bytes(plan.graph, node) > _LARGEST:
        return None
    weight = step.match.value("filter")
    return _Layer(step.name, node, weight.T if node.attrs.get("transpose_b") else weight)


def _rounded(layer: _Layer, gram: Gram, plan: Plan, bits: int) -> Array:
    """The codes of a layer, int8 in the shape of its weight, under the limits that rounding to nearest has."""
    settings = plan.recipe.settings_for(layer.node.name, layer.node.op)
    axes = _AXES[layer.node.op]
    nearest = quantize_weight(layer.weight, axes, per_channel=settings.per_channel, bits=bits)
    one_step = replace(nearest, codes=np.ones_like(nearest.codes)).real
    moment = gram.covariance if plan.recipe.bias_correction else gram.moment
    shape = layer.weight.shape
    if layer.node.op == "DepthwiseConv2dNative":
        rows = (layer.weight / one_step).reshape(-1, *shape[2:])
        codes = learned_codes(np.swapaxes(rows, 0, 1), moment, 2 ** (bits - 1) - 1)
        return np.ascontiguousarray(np.swapaxes(codes, 0, 1)).reshape(shape)
    rows = (layer.weight / one_step).reshape(-1, shape[-1])
    return learned_codes(rows, moment, 2 ** (bits - 1) - 1).reshape(shape)
