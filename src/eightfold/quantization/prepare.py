"""Float to float, before the plan: changes that leave the model's results alone and need data to choose them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eightfold.calibration.channels import collect_channels
from eightfold.calibration.collect import Feeds
from eightfold.data import Dataset
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.passes.channels.scaling import Scaling, scaled
from eightfold.passes.equalize import equalization, equalized_tensors
from eightfold.passes.smooth import smoothed_tensors, smoothing, unsmoothed
from eightfold.quantization.calibrate import feeds_of, make_runner, open_data
from eightfold.quantization.export import Progress
from eightfold.quantization.recipe import Recipe
from eightfold.tf.frames import sometimes_run

__all__ = ["prepare"]

_NAMED = 3
"""Tensors named in a note; of more, only the number is given."""


def prepare(
    model: Model,
    recipe: Recipe,
    data: Any,
    *,
    samples: int | None = None,
    batch_size: int = 32,
    preprocess: str | None = None,
    progress: Progress | None = None,
) -> Model:
    """Makes the channels of tensors alike, as far as the recipe asks for it with `equalize` and `smooth`.

    Args:
        model: from `export`.
        recipe: what is wanted.
        data: as for `calibrate`.
        samples: how many examples to use; 300 when left out.
        batch_size: examples in a batch.
        preprocess: for folders of images: raw, tf, torch, caffe or `module:function`.
        progress: told the number of examples seen.

    Returns:
        A model that computes the same within the ranges of the data, under the same names, with what was done in its
        notes; the same object where the recipe asks for neither. Results are to be compared with the model given, not
        with this one.

    Raises:
        DataError: the data does not fit the model, is empty, or drives a tensor to NaN or infinity.
    """
    if not (recipe.equalize or recipe.smooth):
        return model
    wanted = equalized_tensors(model) if recipe.equalize else {}
    wanted |= smoothed_tensors(model) if recipe.smooth else {}
    channels = {tensor: wanted[tensor] for tensor in _observed(model, wanted)}
    dataset = open_data(model, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
    magnitudes = _magnitudes(model, channels, dataset, progress or (lambda *_: None))
    if recipe.equalize:
        factors = equalization(model, magnitudes, per_channel=recipe.per_channel)
        model = _applied(model, factors, "equalized between convolutions")
        magnitudes |= {place.tensor: magnitudes[place.tensor] * factor for place, factor in factors.items()}
    if recipe.smooth:
        factors = smoothing(model, magnitudes, per_channel=recipe.per_channel)
        reasons = list(unsmoothed(model).values())
        left = (f"not smoothed: {_some(reasons, '; ')}",) if reasons else ()
        model = _applied(model, factors, "smoothed before matrix products", left)
    return model


def _observed(model: Model, tensors: Iterable[Ref]) -> list[Ref]:
    """The tensors that every run of the default signature computes, once."""
    fed = {spec.ref.node for spec in model.default.inputs.values()}
    never = {ref.node for ref in model.inputs} - fed
    sometimes = sometimes_run(model.graph)
    return [t for t in tensors if t.node not in sometimes and not never & model.graph.ancestors([t.node])]


def _magnitudes(model: Model, channels: Mapping[Ref, int], dataset: Dataset, tell: Progress) -> dict[Ref, Array]:
    """[C]: the largest absolute value of each channel of some tensors over the data."""
    if not channels:
        return {}

    def batches() -> Iterator[Feeds]:
        seen = 0
        tell("prepare", seen, dataset.size)
        for batch in dataset:
            yield feeds_of(model, batch.inputs)
            seen += batch.size
            tell("prepare", seen, dataset.size)

    found = collect_channels(model.graph, channels, batches, make_runner(model))
    return {tensor: ranges.magnitude for tensor, ranges in found.items()}


def _applied(model: Model, factors: Mapping[Scaling, Array], done: str, notes: tuple[str, ...] = ()) -> Model:
    """The scaled model, with a note of what was done."""
    names = [str(place.tensor) for place in factors]
    told = f"{len(names)} {'tensor' if len(names) == 1 else 'tensors'}: {_some(names)}"
    return scaled(model, factors).but(
        notes=(*model.notes, f"{done}: {told if names else 'nothing that would pay'}", *notes)
    )


def _some(parts: list[str], between: str = ", ") -> str:
    more = len(parts) - _NAMED
    return between.join(parts[:_NAMED]) + (f"{between}and {more} more" if more > 0 else "")
