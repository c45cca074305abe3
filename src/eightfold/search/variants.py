"""Cheap choices for the whole model, tried before any step is given back: all of them are equally fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eightfold.graph.model import Model
from eightfold.passes.equalize import equalized_tensors
from eightfold.passes.smooth import smoothed_tensors
from eightfold.quantization.recipe import Recipe

__all__ = ["variants"]

_OBSERVERS = ("mse", "minmax", "percentile", "kl")


def variants(recipe: Recipe, model: Model) -> Iterator[Mapping[str, Any]]:
    """Changes of recipe keys, each to be tried alone on top of what was best before it; what costs most comes last.

    Args:
        recipe: what the user asked for.
        model: the float model; what would change nothing in it is not tried.
    """
    yield from ({"observer": name} for name in _OBSERVERS if name != recipe.observer)
    yield {"bias_correction": not recipe.bias_correction}
    if not recipe.equalize and equalized_tensors(model):
        yield {"equalize": True}
    if not recipe.smooth and smoothed_tensors(model):
        yield {"smooth": True}
    if recipe.rounding != "learned":
        yield {"rounding": "learned"}
