"""Puts a run together: network, recipe and pictures become a loop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from eightfold.data.augment import Augment
from eightfold.data.epochs import Epochs, one_epoch
from eightfold.data.training_data import TrainingData
from eightfold.graph.ir import Array
from eightfold.training.checkpoint import Checkpoint
from eightfold.training.collective import Alone, Collective, synchronized
from eightfold.training.ending import Ending
from eightfold.training.falling import Falling
from eightfold.training.loop import Loop
from eightfold.training.optimizers import optimizer_of, rate_of, set_batch_norm_momentum
from eightfold.training.precision import precision_of
from eightfold.training.recipe import TrainingRecipe
from eightfold.training.step import Steps

__all__ = ["chosen_batch_size", "example", "loop_of", "training_batches"]

BATCHES = (16, 32, 64)
STEPS_AN_EPOCH = 40
"""A batch size that is chosen leaves so many steps in an epoch, if the smallest one does."""
TRIAL_BATCH = 64
"""Examples, at most, for the trial of the precision."""
STATISTICS = 1024
"""Examples of the training data that the statistics of the trained model are taken from."""
STATISTICS_SHARE, LEAST_STATISTICS = 0.1, 256
"""The share of the training data that they are taken from before each validation, and the least number."""
STATISTICS_BATCH = 64


def chosen_batch_size(examples: int) -> int:
    """The largest of `BATCHES` that leaves enough steps in an epoch: larger ones are hardly faster on a CPU."""
    return max([BATCHES[0], *(size for size in BATCHES if examples // size >= STEPS_AN_EPOCH)])


def training_batches(
    pictures: TrainingData,
    recipe: TrainingRecipe,
    augment: bool | Augment = True,
    seed: int = 0,
    workers: Collective | None = None,
) -> Epochs:
    """What a run trains with, in batches of the size that it ends with; with several workers, this one's share."""
    changes = augment if isinstance(augment, Augment) else Augment() if augment else None
    whole = pictures.train.epochs(pictures.rows, recipe.micro_batch, seed=seed, augment=changes)
    return whole if workers is None else whole.share(workers.rank, workers.count)


def example(batches: Epochs) -> tuple[Array, Array]:
    """A batch to try precisions with."""
    pixels, labels = next(iter(one_epoch(batches)))
    return pixels[:TRIAL_BATCH], labels[:TRIAL_BATCH]


def loop_of(
    net: Any,
    recipe: TrainingRecipe,
    pictures: TrainingData,
    batches: Epochs,
    ending: Ending,
    *,
    seed: int = 0,
    balance: bool = False,
    recompute: bool = True,
    checkpoint: Checkpoint | None = None,
    workers: Collective | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        net: with its weights, accelerated or not; the momentum of its batch norms becomes that of the recipe.
        recipe: what it is trained with.
        pictures: what it is validated with, and what its batch-norm statistics are taken from.
        batches: what it is trained on.
        ending: when it is over.
        seed: of the choice of pictures for statistics.
        balance: whether all classes count the same.
        recompute: whether batch-norm statistics are recomputed before each validation.
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
    held = pictures.held.epochs(pictures.held_rows, max(recipe.micro_batch, STATISTICS_BATCH), shuffle=False)
    few = min(max(LEAST_STATISTICS, round(len(pictures.rows) * STATISTICS_SHARE)), STATISTICS)
    return Loop(
        steps,
        falling,
        lambda epoch: replace(
            batches, batch_size=recipe.batch_in(epoch) // recipe.accumulate, resized=recipe.side_in(epoch)
        ),
        held.share(those.rank, those.count),
        tuple(_statistics_batches(pictures, count, seed) for count in (few, STATISTICS)) if recompute else None,
        ending,
        checkpoint,
        _about(net, recipe, pictures, ending, seed),
        those,
    )


def _statistics_batches(pictures: TrainingData, count: int, seed: int) -> Any:
    """Batches of training pictures, not augmented, that batch-norm statistics are taken from."""
    rows = np.random.default_rng(seed).permutation(pictures.rows)[:count]
    return one_epoch(pictures.train.epochs(rows, STATISTICS_BATCH, shuffle=False))


def _about(net: Any, recipe: TrainingRecipe, pictures: TrainingData, ending: Ending, seed: int) -> dict[str, Any]:
    """What decides the result, by names for people; a run is resumed only as the same."""
    document = json.loads(json.dumps(recipe.document()))  # as a checkpoint gives it back
    del document["why"]
    return {
        "model": net.name,
        "parameters": net.count_params(),
        "classes": list(pictures.classes),
        "pictures": [len(pictures.rows), len(pictures.held_rows)],
        "image size": pictures.train.size,
        "precision": precision_of(net),
        "epochs": ending.epochs or "auto",
        "seed": seed,
        **document,
    }
