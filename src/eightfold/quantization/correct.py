"""What data can teach about the constants of an 8-bit graph, between calibrate and lower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eightfold.calibration.collect import Feeds
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.bias_correction import correct_bias
from eightfold.quantization.calibrate import feeds_of, open_data
from eightfold.quantization.export import Progress
from eightfold.quantization.learned_rounding import learn_rounding
from eightfold.quantization.plan import Plan
from eightfold.rewrites.correction import Corrections

__all__ = ["correct"]

_METHODS = (learn_rounding, correct_bias)
"""In their order; each adds to the corrections what the recipe asks of it. The biases come last: they make up for what
all else leaves."""


def correct(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range],
    data: Any,
    *,
    samples: int | None = None,
    batch_size: int = 32,
    preprocess: str | None = None,
    progress: Progress | None = None,
) -> Corrections:
    """Learns from data how the constants of each step are best written, as far as the recipe asks for it.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit, with its recipe.
        ranges: from `calibrate`.
        data: as for `calibrate`.
        samples: how many examples to use, at most; each method takes as many of the first as it needs.
        batch_size: examples in a batch.
        preprocess: for folders of images: raw, tf, torch, caffe or `module:function`.
        progress: told how many steps are corrected.

    Returns:
        The corrections by the name of the step, for `lower`. What they say holds for this plan; in another, steps are
        corrected for errors of layers that may be in float there.

    Raises:
        DataError: the data does not fit the model, or is empty.
    """
    dataset = open_data(model, data, samples=samples, batch_size=batch_size, preprocess=preprocess)

    def batches() -> Iterator[Feeds]:
        return (feeds_of(model, batch.inputs) for batch in dataset)

    corrections: Corrections = {}
    for method in _METHODS:
        corrections = method(model, plan, ranges, batches, corrections, progress or (lambda *_: None))
    return corrections
