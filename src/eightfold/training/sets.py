"""What a run trains on, is validated with and takes batch-norm statistics from: of pictures, or of their features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from eightfold.data.augment import Augment
from eightfold.data.epochs import Epochs
from eightfold.data.training_data import TrainingData
from eightfold.training.collective import Collective
from eightfold.training.features import computed, fitting_views
from eightfold.training.loop import OfEpoch, Tell
from eightfold.training.recipe import TrainingRecipe

__all__ = ["Sets", "feature_sets", "picture_sets", "training_batches"]

STATISTICS = 1024
"""Examples of the training data that the statistics of the trained model are taken from."""
STATISTICS_SHARE, LEAST_STATISTICS = 0.1, 256
"""The share of the training data that they are taken from before each validation, and the least number."""
STATISTICS_BATCH = 64


@dataclass(frozen=True, eq=False)
class Sets:
    """The sets of one run; with several workers, of all but the statistics this one's share.

    Attributes:
        training: of each epoch, the first of which is 0.
        validation: all that validate after an epoch, in their order; pictures are as large as it had them.
        statistics: some of the training data, not augmented, and more of it for the trained model; of each epoch
            likewise.
        views: of each picture whose features were computed; 0: it is trained on the pictures themselves.
    """

    training: OfEpoch
    validation: OfEpoch
    statistics: tuple[OfEpoch, OfEpoch]
    views: int = 0


def training_batches(
    pictures: TrainingData, recipe: TrainingRecipe, augment: bool | Augment = True, seed: int = 0
) -> Epochs:
    """The pictures that a run trains on, in batches of the size that it ends with."""
    changes = augment if isinstance(augment, Augment) else Augment() if augment else None
    return pictures.train.epochs(pictures.rows, recipe.micro_batch, seed=seed, augment=changes)


def picture_sets(
    pictures: TrainingData, recipe: TrainingRecipe, batches: Epochs, workers: Collective, seed: int = 0
) -> Sets:
    """The sets of a run on pictures; `batches` are those of `training_batches`."""
    share = batches.share(workers.rank, workers.count)
    some, more = (_resized(_statistics(pictures, count, seed), recipe) for count in _counts(pictures))
    return Sets(
        lambda epoch: _shareable(share.sized(recipe.batch_in(epoch) // recipe.accumulate, recipe.side_in(epoch))),
        _resized(_validation(pictures, recipe).share(workers.rank, workers.count), recipe),
        (some, more),
    )


def _resized(those: Epochs, recipe: TrainingRecipe) -> OfEpoch:
    """The same pictures for each epoch, as large as it has its own."""
    return lambda epoch: those.sized(those.batch_size, recipe.side_in(epoch))


def feature_sets(
    body: Any,
    pictures: TrainingData,
    recipe: TrainingRecipe,
    batches: Epochs,
    workers: Collective,
    seed: int = 0,
    *,
    epochs: int,
    views: int | None = None,
    tell: Tell = lambda *_: None,
) -> Sets:
    """The sets of a run on what a frozen body makes of pictures, which is computed here.

    Args:
        body: a Keras model from pictures to features.
        pictures, recipe, batches, workers, seed: as of `picture_sets`.
        epochs: of the run; more of them see more views of each picture.
        views: of a run that goes on; None: as many as fit.
        tell: told the pictures whose features are computed.

    Raises:
        DataError: the features do not fit into memory.
    """
    if None in body.outputs[0].shape[1:]:  # a network for any size, whose features have one here
        pixels = keras.Input(batches.shape[1:])
        body = keras.Model(pixels, body(pixels), name="body")
    count = len(pictures.rows) + len(pictures.held_rows)
    views = views or fitting_views(body, epochs, count, workers, augmented=batches.augment is not None)
    training = computed(body, batches, views, workers, tell)
    held = computed(body, _validation(pictures, recipe), 1, workers, tell)
    share, held_share = (replace(one, plan=one.plan.share(workers.rank, workers.count)) for one in (training, held))
    plain = replace(training, features=training.features[:1])
    some, more = (replace(plain, plan=_statistics(pictures, count, seed)) for count in _counts(pictures))
    return Sets(
        lambda epoch: replace(share, plan=_shareable(share.plan.sized(recipe.batch_in(epoch) // recipe.accumulate))),
        lambda _: held_share,
        (lambda _: some, lambda _: more),
        views,
    )


def _shareable(epochs: Epochs) -> Epochs:
    """Without a last batch of fewer pictures than there are workers: no step can be made of no picture."""
    rest = len(epochs.rows) % epochs.batch_size
    return replace(epochs, drop_remainder=True) if 0 < rest < epochs.workers else epochs


def _counts(pictures: TrainingData) -> tuple[int, int]:
    return min(max(LEAST_STATISTICS, round(len(pictures.rows) * STATISTICS_SHARE)), STATISTICS), STATISTICS


def _statistics(pictures: TrainingData, count: int, seed: int) -> Epochs:
    rows = np.random.default_rng(seed).permutation(pictures.rows)[:count]
    return pictures.train.epochs(rows, STATISTICS_BATCH, shuffle=False)


def _validation(pictures: TrainingData, recipe: TrainingRecipe) -> Epochs:
    return pictures.held.epochs(pictures.held_rows, max(recipe.micro_batch, STATISTICS_BATCH), shuffle=False)
