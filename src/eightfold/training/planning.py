"""What is asked of a run becomes its recipe: sizes that are left open are chosen, and all are checked together."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from eightfold.errors import RecipeError
from eightfold.training.ending import Ending
from eightfold.training.expected import is_whole
from eightfold.training.recipe import TrainingRecipe, growing_from, recipe_for
from eightfold.training.resizing import LEAST, half, size_stages
from eightfold.training.scaling import Name

__all__ = ["OptimizerName", "epochs_ahead", "planned"]

OptimizerName: TypeAlias = Name | Literal["auto"]

GUESS = 30
"""How many epochs a run without a number of them is planned for: its warm-up follows from that."""
BATCHES = (16, 32, 64)
STEPS_AN_EPOCH = 40
"""A batch size that is chosen leaves so many steps in an epoch, if the smallest one does."""


def planned(
    examples: int,
    ending: Ending,
    *,
    side: int,
    workers: int,
    batch_size: int | Literal["auto"],
    optimizer: OptimizerName,
    rate: float | None,
    label_smoothing: float,
    micro_batch: int | None,
    grow_from: int | Literal["auto"] | None,
    progressive_resizing: int | Literal["auto"] | None,
) -> TrainingRecipe:
    """The recipe of a run.

    Args:
        examples: that it is trained on.
        ending: when it is over.
        side: height and width of its pictures.
        workers: who share every batch.
        batch_size, optimizer, rate, label_smoothing, micro_batch, grow_from, progressive_resizing: see `train`.

    Raises:
        RecipeError: a value makes no sense, or not together with the others.
    """
    size = _chosen_batch_size(examples) if batch_size == "auto" else batch_size
    recipe = recipe_for(
        size,
        examples,
        epochs_ahead(ending),
        optimizer=optimizer,
        rate=rate,
        schedule="constant" if ending.epochs is None else None,
        grow_from=_first_size(grow_from, size, ending, micro_batch),
        label_smoothing=label_smoothing,
        micro_batch=micro_batch,
    )
    if recipe.micro_batch < workers:
        raise RecipeError(f"{workers} workers cannot share batches of {recipe.micro_batch}; expected larger ones")
    return recipe if progressive_resizing is None else _resizing(recipe, progressive_resizing, side, ending)


def epochs_ahead(ending: Ending) -> int:
    """How many epochs a run is planned for."""
    return GUESS if ending.epochs is None else ending.epochs


def _chosen_batch_size(examples: int) -> int:
    """The largest of `BATCHES` that leaves enough steps in an epoch: larger ones are hardly faster on a CPU."""
    return max([BATCHES[0], *(size for size in BATCHES if examples // size >= STEPS_AN_EPOCH)])


def _first_size(
    grow_from: int | Literal["auto"] | None, batch_size: int, ending: Ending, micro_batch: int | None
) -> int | None:
    """The batch size of the first epochs; None where all have the same."""
    if grow_from != "auto":
        return grow_from
    return growing_from(batch_size) if ending.epochs is not None and micro_batch is None else None


def _resizing(recipe: TrainingRecipe, first: int | Literal["auto"], side: int, ending: Ending) -> TrainingRecipe:
    """The recipe, with pictures that grow."""
    if ending.epochs is None:
        raise RecipeError("pictures cannot grow over a number of epochs that is left open; expected epochs=N")
    if ending.epochs < 2:
        raise RecipeError("pictures cannot grow in 1 epoch; expected 2 or more, or no progressive resizing")
    if side <= LEAST:
        raise RecipeError(f"pictures of {side} pixels cannot begin smaller; expected an image size above {LEAST}")
    if first != "auto" and not (is_whole(first, LEAST) and first < side):
        raise RecipeError(f"pictures cannot grow from {first!r} pixels; expected {LEAST} to {side - 1}, or auto")
    begin = half(side) if first == "auto" else first
    why = f"from {begin} to {side} pixels (Tan and Le 2021, arXiv:2104.00298)"
    return replace(recipe, sizes=size_stages(begin, side, ending.epochs), why={**recipe.why, "sizes": why})
