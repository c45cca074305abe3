"""Puts a run together: network, recipe and pictures become a loop."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from eightfold.data.epochs import Epochs
from eightfold.data.training_data import TrainingData
from eightfold.graph.ir import Array
from eightfold.training.checkpoint import Checkpoint
from eightfold.training.collective import Alone, Collective, digest, synchronized
from eightfold.training.ending import Ending
from eightfold.training.falling import Falling
from eightfold.training.loop import Loop
from eightfold.training.optimizers import optimizer_of, rate_of, set_batch_norm_momentum
from eightfold.training.precision import precision_of
from eightfold.training.recipe import TrainingRecipe
from eightfold.training.sets import Sets
from eightfold.training.step import Steps

__all__ = ["example", "loop_of"]

TRIAL_BATCH = 64
"""Examples, at most, for the trial of the precision."""


def example(batches: Epochs) -> tuple[Array, Array]:
    """A batch to try precisions with."""
    pixels, labels = next(iter(batches.dataset()))
    return pixels[:TRIAL_BATCH], labels[:TRIAL_BATCH]


def loop_of(
    net: Any,
    recipe: TrainingRecipe,
    pictures: TrainingData,
    sets: Sets,
    ending: Ending,
    *,
    seed: int = 0,
    balance: bool = False,
    recompute: bool = True,
    whole: Any = None,
    checkpoint: Checkpoint | None = None,
    workers: Collective | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        net: with its weights, accelerated or not; the momentum of its batch norms becomes that of the recipe.
        recipe: what it is trained with.
        pictures: what `sets` were made of.
        sets: what it is trained on and validated with.
        ending: when it is over.
        seed: of the run, which is resumed only with the same.
        balance: whether all classes count the same.
        recompute: whether batch-norm statistics are recomputed before each validation.
        whole: the network that `net` is the head of, where its body is frozen.
        checkpoint: where checkpoints are kept.
        workers: who trains together.
    """
    those = workers or Alone()
    set_batch_norm_momentum(net, recipe.batch_norm_momentum)
    optimizer = optimizer_of(recipe, net)
    falling = Falling(rate_of(recipe))
    optimizer.learning_rate = falling
    steps = Steps(
        net,
        optimizer,
        label_smoothing=recipe.label_smoothing,
        class_weights=pictures.train.class_weights(pictures.rows) if balance else None,
        collective=those,
    )
    synchronized(those, [*net.variables, *optimizer.variables])
    return Loop(
        steps,
        falling,
        sets.training,
        sets.validation,
        sets.statistics if recompute else None,
        ending,
        checkpoint,
        _about(net, whole, sets.views, recipe, pictures, ending, seed),
        those,
    )


def _about(
    net: Any, whole: Any, views: int, recipe: TrainingRecipe, pictures: TrainingData, ending: Ending, seed: int
) -> dict[str, Any]:
    """What decides the result, by names for people; a run is resumed only as the same."""
    document = json.loads(json.dumps(recipe.document()))  # as a checkpoint gives it back
    del document["why"]
    return {
        "model": (whole or net).name,
        "parameters": (whole or net).count_params(),
        "body": "trained" if whole is None else f"frozen, {_frozen(whole, net)}",
        "views": views,
        "classes": list(pictures.classes),
        "pictures": [len(pictures.rows), len(pictures.held_rows)],
        "image size": pictures.train.size,
        "precision": precision_of(whole or net),
        "epochs": ending.epochs or "auto",
        "seed": seed,
        **document,
    }


def _frozen(whole: Any, head: Any) -> str:
    """What tells the weights of one body from those of another."""
    trained = {id(one) for one in head.variables}
    return digest([np.asarray(one) for one in whole.weights if id(one) not in trained])[:12]
