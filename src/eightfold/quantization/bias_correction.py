"""Biases that make up for the mean error of each layer, one layer after the other.

Rounding and clipping do not only add noise: over the data, the error of a channel has a mean, which the next layers
carry on. That mean is known, and a bias can take it away:

    b  +=  mean of the float layer's result  -  mean of the 8-bit layer's result        (before the activation)

A layer is corrected when all layers before it are in 8 bits and corrected, so that it makes up for what is left of
their errors too. All at once, each layer would make up for all that came before it, over and over again.

The 8-bit graph runs once: stage by stage, each stage fed with what the one before has computed. The results of a layer
are not looked at (its sum never leaves the kernel): their mean follows from the mean of what it reads.

Sources: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
arXiv:1906.04721, section 4.2 and appendix D (empirical bias correction); A. Finkelstein, U. Almog, M. Grobman,
"Fighting Quantization Bias With Bias", 2019, arXiv:1906.03193.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eightfold.calibration.collect import Feeds
from eightfold.calibration.means import channel_means
from eightfold.calibration.preactivation import BiasedSum, biased_sum, float_preactivation
from eightfold.graph.encoding import Encoding
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.calibrate import make_runner
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.export import Progress
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan
from eightfold.quantization.staged_run import StagedRun
from eightfold.rewrites.correction import Correction, Corrections
from eightfold.system.instructions import weight_bits
from eightfold.tf.frames import sometimes_run

__all__ = ["correct_bias"]

_EXAMPLES = 64
"""Examples looked at: whole batches, until there are so many."""


@dataclass(frozen=True)
class _Layer:
    """A step whose bias can be corrected.

    Attributes:
        sum: where the 8-bit graph adds its bias.
        reference: the same sum in the float graph.
        rank: of that tensor.
        offset: by how much more the bias is, since the codes of the result stand higher.
    """

    sum: BiasedSum
    reference: Ref
    rank: int
    offset: float


def correct_bias(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range],
    batches: Callable[[], Iterable[Feeds]],
    corrections: Corrections,
    tell: Progress,
) -> Corrections:
    """The corrections with those of the biases among them.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit, and the recipe.
        ranges: from `calibrate`.
        batches: gives the data anew at each call; its first examples are used.
        corrections: what was learned before; its codes are used.
        tell: told how many layers are corrected.
    """
    if not plan.recipe.bias_correction:
        return corrections
    bits = plan.recipe.weight_bits or weight_bits()
    written = lower_plan(model, plan, ranges, weight_bits=bits, corrections=corrections)
    layers = _layers(model, plan, written, choose_encodings(plan, ranges, offsets=plan.recipe.offsets))
    if not layers:
        return corrections
    examples = list(_first(batches(), _EXAMPLES))
    ranks = {layer.reference: layer.rank for layer in layers.values()}
    references = list(channel_means(model.graph, ranks, examples, make_runner(model)))
    sums = {name: layer.sum for name, layer in layers.items()}
    lists = {ref.node for ref, (dtype, _) in plan.facts.tensors.items() if dtype == "variant"}
    with StagedRun(written, sums, examples, lists) as run:
        shifts = _shifts(run, layers, references, [_size(feeds) for feeds in examples], tell)
    return {**corrections, **{name: _shifted(corrections.get(name), shift) for name, shift in shifts.items()}}


def _layers(model: Model, plan: Plan, written: Model, encodings: Mapping[Ref, Encoding]) -> dict[str, _Layer]:
    """The steps whose bias can be corrected, by name; a run cannot be stopped in a loop or branch of TensorFlow 1."""
    branches = sometimes_run(model.graph)
    layers = {}
    for step in plan.steps:
        reference, found = float_preactivation(step.match), biased_sum(written.graph, step.name)
        if reference is None or found is None or branches & model.graph.ancestors([step.name]):
            continue
        offset = encodings[step.match.root].offset if found.holds_offset else 0.0
        layers[step.name] = _Layer(found, reference, 4 if "conv" in step.match.named else 2, offset)
    return layers


def _shifts(
    run: StagedRun,
    layers: Mapping[str, _Layer],
    references: Sequence[Mapping[Ref, Array]],
    sizes: Sequence[int],
    tell: Progress,
) -> dict[str, Array]:
    """What is to be added to the bias of each layer, float64 [C].

    Args:
        run: the 8-bit graph.
        layers: by name.
        references: for each batch the means in the float graph.
        sizes: examples in each batch.
        tell: told how many layers are corrected.
    """
    shifts: dict[str, Array] = {}
    for group in run.groups:
        tell("correct", len(shifts), len(layers))
        means = run.means_before_bias(group)
        for name in group:
            wanted = [
                float_[layers[name].reference] - int8[name] for float_, int8 in zip(references, means, strict=False)
            ]
            bias = _average(wanted, sizes, run.biases[name] - layers[name].offset) + layers[name].offset
            shifts[name] = bias - run.biases[name]
            run.biases[name] = bias
    tell("correct", len(shifts), len(layers))
    return shifts


def _average(values: Sequence[Array], sizes: Sequence[int], default: Array) -> Array:
    """The mean over the batches, each by its size; those in which the tensor was empty (no box was found) have none."""
    known = [(value, size) for value, size in zip(values, sizes, strict=False) if np.isfinite(value).all()]
    if not known:
        return default
    return np.asarray(sum(value * size for value, size in known) / sum(size for _, size in known))


def _shifted(correction: Correction | None, shift: Array) -> Correction:
    before = correction or Correction()
    return replace(before, bias=shift if before.bias is None else before.bias + shift)


def _first(batches: Iterable[Feeds], count: int) -> Iterator[Feeds]:
    """Whole batches, until they have so many examples."""
    seen = 0
    for feeds in batches:
        yield feeds
        seen += _size(feeds)
        if seen >= count:
            return


def _size(feeds: Feeds) -> int:
    return next((len(value) for value in feeds.values() if value.ndim), 1)
