"""What a frozen body makes of each picture, computed once, and epochs of that.

An epoch of features costs next to nothing beside one of pictures. Augmentation changes pictures, so features are
computed for a few changed views of each, which the epochs take in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from eightfold.data.epochs import Epochs
from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.system.memory import memory
from eightfold.training.collective import Alone, Collective

__all__ = ["FeatureEpochs", "computed", "fitting_views"]

VIEWS = 4
"""Of each picture, at most: the first as it is, the others changed."""
BATCH = 64
"""Pictures that the body sees at once."""
SHARE = 0.25
"""Of the free memory that features take."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureEpochs:
    """Batches of features; see `eightfold.data.epochs.Epochs`, whose order they have.

    Attributes:
        plan: which pictures each batch holds.
        features: float32 [views, pictures, ...]; an epoch has one of the views.
        where: for each row of the plan's pixels, its place among `features`.
    """

    plan: Epochs
    features: Array
    where: Array

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.plan.steps

    @property
    def side(self) -> int:
        """Height and width of the pictures."""
        return self.plan.size

    def rows_of(self, epoch: int, batch: int) -> Array:
        """The pictures of a batch, as rows of the plan's pixels."""
        return self.plan.rows_of(epoch, batch)

    def dataset(self, epoch: int = 0, first: int = 0) -> Iterator[tuple[Array, Array]]:
        """The batches of one epoch, from batch `first` on: float32 [b, ...] and int32 [b]."""
        view = self.features[epoch % len(self.features)]
        for batch in range(first, self.steps):
            rows = self.rows_of(epoch, batch)
            yield view[self.where[rows]], self.plan.labels[rows].astype(np.int32)


def fitting_views(body: Any, epochs: int, pictures: int, workers: Collective | None = None, *, augmented: bool) -> int:
    """How many views of each picture are computed: as many as there are epochs, up to four, as far as memory allows.

    Args:
        body: from pictures to features.
        epochs: of the run.
        pictures: that features are kept of.
        workers: each of whom keeps all of them; all decide the same, by the one with the least room.
        augmented: whether pictures are changed; else all views would be the same.

    Raises:
        DataError: one view needs more than a quarter of the free memory.
    """
    those = workers or Alone()
    each = 4.0 * pictures * int(np.prod(body.outputs[0].shape[1:]))
    room = min(those.gather(SHARE * memory().free / those.count))  # as if all were on one machine
    if each > room:
        among = f" among {those.count} workers" if those.count > 1 else ""
        raise DataError(
            f"the features of {pictures} pictures need {each / 1e9:.1f} GB; expected at most {room / 1e9:.1f} GB, a "
            f"quarter of the free memory{among}: a network that pools before its last layer has small features"
        )
    return max(1, min(epochs, VIEWS, int(room // each))) if augmented else 1


def computed(body: Any, plan: Epochs, views: int, workers: Collective, tell: Any = lambda *_: None) -> FeatureEpochs:
    """The features of all pictures of a plan, each worker computing a part.

    Args:
        body: a Keras model from pictures to features; it is called as in inference.
        plan: the pictures, and their order in epochs.
        views: how many of each picture; the first is not augmented.
        workers: who computes together.
        tell: told the pictures done, and all.

    Returns:
        Epochs of features in the order of the plan.

    Raises:
        WorkerLostError: another worker is gone.
    """
    forward = tf.function(lambda pixels: tf.cast(body(pixels, training=False), tf.float32), autograph=False)
    inorder = replace(plan, rows=np.sort(plan.rows), batch_size=BATCH, shuffle=False, worker=0, workers=1)
    features = np.zeros((views, len(plan.rows), *body.outputs[0].shape[1:]), np.float32)
    for view in range(views):
        of = replace(inorder, augment=inorder.augment if view else None).share(workers.rank, workers.count)
        for number, (pixels, _) in enumerate(of.dataset(view)):
            whole = features[view, number * BATCH : (number + 1) * BATCH]
            if len(pixels):
                whole[workers.rank :: workers.count] = forward(pixels)
            if workers.count > 1:
                whole[:] = workers.sum_arrays([whole])[0]  # each has zeros where others have features
            tell("features", view * len(plan.rows) + number * BATCH + len(whole), views * len(plan.rows))
    where = np.zeros(len(plan.pixels), np.int64)
    where[inorder.rows] = np.arange(len(inorder.rows))
    return FeatureEpochs(plan=plan, features=features, where=where)
