"""The Keras optimizer that a recipe describes, and the batch norms that go with it."""

from __future__ import annotations

from typing import Any

import keras

from eightfold.errors import RecipeError
from eightfold.training.lars import LARS
from eightfold.training.layers import batch_norms, checked, layers, output_layers
from eightfold.training.muon import Muon, short_path
from eightfold.training.recipe import TrainingRecipe

__all__ = ["optimizer_of", "rate_of", "set_batch_norm_momentum"]

NOT_HIDDEN = (keras.layers.Embedding, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
"""Layers whose kernels are no matrix from all inputs to all outputs, which Muon is for."""

TRUST = 0.1
"""Of LARS. With the paper's 0.001 the rate is 100 times as large, and as biases and scales are not adapted, so is
theirs: they diverge where steps are few and gradients large."""


def optimizer_of(recipe: TrainingRecipe, model: Any) -> Any:
    """The optimizer of a recipe for a model, not built yet.

    Keras counts calls, `accumulate` for each step, in a schedule; the schedule is stretched so much.

    Args:
        recipe: as `recipe_for` derives it.
        model: of Keras 3 on TensorFlow, with its weights. Which of them have no decay, and are trained by Adam beside
            Muon, is decided by its layers. It is not compiled.

    Raises:
        ModelError: it is no Keras 3 model, or has no weights yet.
        PlatformError: Keras runs on another engine than TensorFlow.
    """
    checked(model)
    accumulated = {"gradient_accumulation_steps": recipe.accumulate} if recipe.accumulate > 1 else {}
    optimizer = _made(recipe, model, {"learning_rate": rate_of(recipe), **accumulated})
    small = [one for one in model.trainable_variables if not _is_kernel(one)]
    optimizer.exclude_from_weight_decay(var_list=small)
    return optimizer


def rate_of(recipe: TrainingRecipe) -> Any:
    """The schedule of a recipe, of Keras: steps `accumulate` calls long.

    The first step is made at 1 / (warmup + 1) of the highest rate, not at 0, which would be a step lost; half a cosine
    takes it down after the warm-up, or nothing does where the schedule is constant.
    """
    warming = {
        "initial_learning_rate": recipe.rate / (recipe.warmup + 1),
        "warmup_target": recipe.rate,
        "warmup_steps": recipe.warmup * recipe.accumulate,
    }
    return keras.optimizers.schedules.CosineDecay(
        **(warming if recipe.warmup else {"initial_learning_rate": recipe.rate}),
        decay_steps=max(recipe.steps - recipe.warmup, 1) * recipe.accumulate,
        alpha=1.0 if recipe.schedule == "constant" else recipe.final,
    )


def set_batch_norm_momentum(model: Any, momentum: float) -> int:
    """Gives all batch normalizations of a model a momentum, and says how many there are.

    It holds for what is traced from now on: call it before `compile`.

    Raises:
        RecipeError: the momentum is not in [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise RecipeError(f"the momentum of batch norms must be a number from 0 to 1, received {momentum!r}")
    those = batch_norms(model)
    for layer in those:
        layer.momentum = momentum
    return len(those)


def _made(recipe: TrainingRecipe, model: Any, common: dict[str, Any]) -> Any:
    kinds = keras.optimizers
    common["weight_decay"] = recipe.weight_decay or None
    match recipe.optimizer:
        case "sgd":
            return kinds.SGD(momentum=float(recipe.momentum), nesterov=True, **common)
        case "lars":
            return LARS(momentum=recipe.momentum, trust=TRUST, nesterov=True, **common)
        case "muon":
            return Muon(momentum=recipe.momentum, exclude=_beside_muon(model), **common)
        case "adam":
            return kinds.Adam(beta_1=recipe.momentum, **common)
        case "adamw":
            return kinds.AdamW(beta_1=recipe.momentum, **{**common, "weight_decay": recipe.weight_decay})
        case "lamb":
            return kinds.Lamb(beta_1=recipe.momentum, **common)


def _beside_muon(model: Any) -> list[str]:
    """Short paths of the variables of layers whose kernels Muon is not for: the last ones and those of `NOT_HIDDEN`.

    Where the last layer has no kernel, as a softmax has none, or is not known, the last kernel of the model counts.
    """
    apart = [variable for layer in output_layers(model) for variable in layer.trainable_variables]
    if not any(_is_kernel(one) for one in apart):
        apart = [one for one in model.trainable_variables if _is_kernel(one)][-1:]
    apart += [one for layer in layers(model) if isinstance(layer, NOT_HIDDEN) for one in layer.trainable_variables]
    return [short_path(variable) for variable in apart]


def _is_kernel(variable: Any) -> bool:
    return len(variable.shape) >= 2
