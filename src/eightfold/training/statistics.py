"""Recomputes the moving means and variances of batch normalizations from data; the weights stay as they are.

In training, a batch normalization uses the statistics of the batch, and keeps a moving average for later:

    moving = momentum · moving + (1 - momentum) · batch

With Keras's momentum of 0.99 this average needs hundreds of steps to forget where it began. Large batches make few
steps, and after them the model is evaluated with statistics that are not those of its data: accuracy collapses, while
the weights are good. So the statistics are taken anew: one pass over some batches in which each batch normalization
uses and adds up the statistics of the batch.

Source: PreciseBN; Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, arXiv:2105.07576, section 3. Two things
differ. Means and variances of batches are put together as those of one population (Chan, Golub and LeVeque, "Updating
Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979), so that a short last batch weighs less. And
all other layers work as in inference, dropout among them: that is the function whose statistics are wanted (Li et al.,
"Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift", 2018, arXiv:1801.05134).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eightfold.errors import DataError, ModelError
from eightfold.training.acceleration import Left
from eightfold.training.batch_norm import normalized
from eightfold.training.layers import accepts_training, batch_norms, checked, names

__all__ = ["Recomputed", "Recorder", "recompute_statistics"]


@dataclass(frozen=True)
class Recomputed:
    """What was recomputed.

    Attributes:
        layers: paths of the batch normalizations that have new statistics.
        left: those that have not, with the reason.
        batches: how many were read.
    """

    layers: tuple[str, ...]
    left: tuple[Left, ...]
    batches: int


def recompute_statistics(model: Any, batches: Iterable[Any], limit: int | None = None) -> Recomputed:
    """Sets the moving mean and variance of each batch normalization to those of the data.

    About 1,000 pictures of the training data, not augmented, in batches of 32 or more are enough. For the first batch
    normalization the result is exactly that of the population; for later ones it is that of inputs which were
    normalized batch by batch, and comes closer with larger batches.

    Frozen layers (`trainable=False`) are used as they are: their statistics belong to the data that they come from.

    Args:
        model: of Keras 3 on TensorFlow, with its weights.
        batches: as `fit` takes them: inputs, or tuples of inputs, labels and weights, of which the first counts; a
            tf.data.Dataset of batches, for example.
        limit: how many batches to read; by default all.

    Returns:
        Which layers have new statistics, which have not and why, and how many batches were read.

    Raises:
        ModelError: it is no Keras 3 model, or its statistics are not finite. It is then left as it was.
        DataError: there are no batches, or they are single examples.
    """
    return Recorder(model).recompute(batches, limit)


class Recorder:
    """`recompute_statistics` for one model, to be used more than once: the pass is compiled only once."""

    def __init__(self, model: Any) -> None:
        """Raises: ModelError as `recompute_statistics`."""
        checked(model)
        self._model = model
        reasons = [(layer, _left(layer)) for layer in batch_norms(model)]
        self._moments = [_Moments(layer) for layer, reason in reasons if reason is None]
        self._left = [(layer, reason) for layer, reason in reasons if reason is not None]
        self._forward = tf.function(self._pass, autograph=False, reduce_retracing=True)

    @property
    def records(self) -> bool:
        """Whether there is any batch normalization to recompute."""
        return bool(self._moments)

    def recompute(self, batches: Iterable[Any], limit: int | None = None) -> Recomputed:
        """See `recompute_statistics`."""
        if isinstance(batches, np.ndarray | tf.Tensor | dict):
            raise DataError(
                f"expected batches to iterate over, received one {type(batches).__name__}; for one batch pass [batch]"
            )
        read = self._run(batches, limit)
        used = [one for one in self._moments if one.count.numpy() > 0]
        _check(used)
        for one in used:
            one.assign()
        left = self._left + [(one.layer, "nothing reached it") for one in self._moments if one not in used]
        return Recomputed(
            layers=names([one.layer for one in used]),
            left=tuple(Left(names([layer])[0], reason) for layer, reason in left),
            batches=read,
        )

    def _run(self, batches: Iterable[Any], limit: int | None) -> int:
        for one in self._moments:
            one.reset()
        read = 0
        with _recording(self._moments):
            for batch in islice(batches, limit):
                inputs, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                self._forward(tf.nest.map_structure(tf.convert_to_tensor, inputs))
                read += 1
        if not read:
            raise DataError(
                "there are no batches to take statistics of; expected at least one (a generator gives its own once)"
            )
        return read

    def _pass(self, inputs: Any) -> None:
        options = {"training": False} if accepts_training(self._model) else {}
        self._model(inputs, **options)


class _Moments:
    """Number, mean and sum of squared differences of what reaches one layer, in float64; by channel."""

    def __init__(self, layer: Any) -> None:
        channels = layer.moving_mean.shape
        self.layer = layer
        self.count = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self.mean = tf.Variable(tf.zeros(channels, tf.float64), trainable=False)
        self.squares = tf.Variable(tf.zeros(channels, tf.float64), trainable=False)

    def reset(self) -> None:
        for one in (self.count, self.mean, self.squares):
            one.assign(tf.zeros_like(one))

    def add(self, count: Any, mean: Any, variance: Any) -> None:
        """Takes another batch in; Chan, Golub and LeVeque, 1979, formulae 2.1."""
        count = tf.cast(count, tf.float64)
        some = count > 0  # a batch may be masked altogether
        mean, variance = (tf.where(some, tf.cast(one, tf.float64), 0) for one in (mean, variance))
        total = self.count + count
        apart = mean - self.mean
        share = tf.math.divide_no_nan(count, total)
        squares = self.squares + variance * count + tf.square(apart) * self.count * share
        mean = self.mean + apart * share
        for variable, value in ((self.squares, squares), (self.mean, mean), (self.count, total)):
            variable.assign(value)

    def assign(self) -> None:
        """Hands the statistics to the layer; like Keras's, the variance is divided by the number of elements."""
        self.layer.moving_mean.assign(self.mean)
        self.layer.moving_variance.assign(self.squares / self.count)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """In place of the layer's: normalizes with the statistics of the batch, and adds them up."""
        del training
        layer = self.layer
        done = normalized(layer, inputs) if mask is None else None
        if done is not None:
            self.add(tf.size(inputs) / tf.size(done.mean), done.mean, done.variance)
            return done.output
        floats = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        count, mean, variance = _statistics(floats, layer.axis, mask)
        self.add(count, mean, variance)
        output = keras.ops.batch_normalization(
            floats,
            mean,
            variance,
            layer.axis,
            offset=keras.ops.cast(layer.beta, floats.dtype) if layer.center else None,
            scale=keras.ops.cast(layer.gamma, floats.dtype) if layer.scale else None,
            epsilon=layer.epsilon,
        )
        return keras.ops.cast(output, layer.compute_dtype)


def _statistics(inputs: Any, axis: int, mask: Any) -> tuple[Any, Any, Any]:
    """How many elements a channel has, their mean, and their variance; of those alone that a mask lets through."""
    rank = len(inputs.shape)
    axes = [one for one in range(rank) if one != axis % rank]
    weights = tf.ones_like(inputs)
    if mask is not None:
        weights *= tf.cast(tf.expand_dims(mask, -1), inputs.dtype)
    mean, variance = tf.nn.weighted_moments(inputs, axes, weights)
    return tf.reduce_max(tf.reduce_sum(weights, axes)), mean, variance


def _left(layer: Any) -> str | None:
    """Why a layer's statistics are not recomputed."""
    if not layer.trainable:
        return "it is frozen (trainable=False)"
    if getattr(layer, "renorm", False):
        return "renorm=True: it trains with its moving statistics"
    if type(layer).call is not keras.layers.BatchNormalization.call:
        return f"it is a {type(layer).__name__}, with a call of its own"
    return None


def _check(used: list[_Moments]) -> None:
    for one in used:
        if not np.isfinite([one.mean.numpy(), one.squares.numpy()]).all():
            raise ModelError(
                f"what reaches {names([one.layer])[0]!r} is not finite; expected finite numbers: the model has "
                "diverged, or the data holds NaN"
            )
        if one.count.numpy() < 2:
            raise DataError(
                f"{names([one.layer])[0]!r} has seen one number for each channel; expected at least two, which "
                "have a variance"
            )


@contextmanager
def _recording(those: list[_Moments]) -> Iterator[None]:
    """The layers compute by `_Moments.call`, and afterwards as they did before."""
    before = [vars(one.layer).get("call") for one in those]
    for one in those:
        one.layer.call = one.call
    try:
        yield
    finally:
        for one, own in zip(those, before, strict=True):
            del one.layer.call
            if own is not None:
                one.layer.call = own
