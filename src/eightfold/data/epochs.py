"""The batches of training epochs: which pictures are in each, in what order, and what is changed in them.

pixels of the rows of a batch  --crop, flip (NumPy)-->  uint8  --size, brightness, contrast (TensorFlow)-->  float32

All of it follows from the seed, the number of the epoch and the number of the batch.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from eightfold.data.augment import Augment, Drawn, coloured, turned
from eightfold.data.square import window
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Epochs", "every_epoch", "one_epoch"]

READY = 1
"""Batches that wait for the model; more would only take memory, as one is made faster than it is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Epochs:
    """What each batch of each epoch holds.

    Attributes:
        pixels: uint8 [n, stored, stored, channels].
        labels: whole numbers [n].
        size: height and width of what is kept of each picture.
        rows: the pictures of an epoch.
        batch_size: the last batch of an epoch may be smaller.
        seed: of order and augmentation.
        shuffle: else the rows keep their order.
        augment: what is changed; `None` leaves the centre of each picture as it is.
        drop_remainder: a smaller last batch is left out.
        worker, workers: of each batch, every `workers`-th picture from number `worker` on; see `share`.
        resized: height and width that a batch has it in, if that is less.
    """

    pixels: Array
    labels: Array
    size: int
    rows: Array
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    augment: Augment | None = None
    drop_remainder: bool = False
    worker: int = 0
    workers: int = 1
    resized: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.seed < 0:
            raise DataError(
                "expected a batch size of 1 or more and a seed of 0 or more; "
                f"received {self.batch_size} and {self.seed}"
            )
        if not self.steps:
            few = f" in full batches of {self.batch_size}" if self.drop_remainder else ""
            raise DataError(f"there are {len(self.rows)} pictures; expected at least one batch of them{few}")

    def share(self, worker: int, workers: int) -> Epochs:
        """The part of each batch that one of several workers has; all parts are the batch, changes included."""
        return replace(self, worker=worker, workers=workers)

    def sized(self, batch_size: int, resized: int | None = None) -> Epochs:
        """The same pictures in other batches, and of another height and width."""
        return replace(self, batch_size=batch_size, resized=resized)

    def dataset(self, epoch: int = 0, first: int = 0) -> Any:
        """See `one_epoch`."""
        return one_epoch(self, epoch, first)

    @property
    def side(self) -> int:
        """Height and width of the pictures of a batch."""
        return self.resized or self.size

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + bool(rest and not self.drop_remainder)

    @property
    def stored(self) -> int:
        """Height and width of what is held of each picture."""
        return int(self.pixels.shape[1])

    @property
    def shape(self) -> tuple[int | None, int, int, int]:
        """Of the pictures of a batch, where the number of them is known if all batches have the same."""
        even = self.drop_remainder or len(self.rows) % self.batch_size == 0
        count = len(range(self.worker, self.batch_size, self.workers))
        return count if even else None, self.side, self.side, int(self.pixels.shape[3])

    def rows_of(self, epoch: int, batch: int) -> Array:
        """The pictures of a batch, of this worker, as rows of `pixels`."""
        return self._whole(epoch, batch)[self._own]

    @property
    def _own(self) -> slice:
        return slice(self.worker, None, self.workers)

    def _whole(self, epoch: int, batch: int) -> Array:
        part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        if not self.shuffle:
            return self.rows[part]
        return self.rows[_permutation(self.seed, epoch, len(self.rows))[part]]

    def drawn(self, epoch: int, batch: int, count: int) -> Drawn:
        """What is changed in the pictures of a batch; nothing where there is no augmentation."""
        augment = self.augment or Augment(flip_horizontal=False, crop=False, brightness=0, contrast=0)
        rng = np.random.default_rng((self.seed, epoch, batch + 1))  # NumPy takes (seed, epoch, 0) for (seed, epoch)
        return augment.draw(rng, count, self.size, self.stored)

    def read(self, epoch: int, batch: int) -> tuple[Array, Array, Drawn]:
        """The pictures of a batch as bytes, their labels as int32, and what is yet to be changed in them.

        Where pixels are interpolated the whole squares are given; else what is kept of them, flipped.
        """
        whole = self._whole(epoch, batch)
        rows, drawn = whole[self._own], self.drawn(epoch, batch, len(whole)).part(self._own)
        turns = self.augment is not None and self.augment.turns
        pixels = self.pixels[rows] if turns else self._cropped(rows, drawn)
        return pixels, self.labels[rows].astype(np.int32), drawn

    def _cropped(self, rows: Array, drawn: Drawn) -> Array:
        made = np.empty((len(rows), self.size, self.size, self.pixels.shape[3]), np.uint8)
        flips = zip(drawn.upside_down, drawn.mirrored, strict=True)
        for at, (row, (top, left), (down, across)) in enumerate(zip(rows, drawn.corners, flips, strict=True)):
            part = window(self.pixels[row], top, left, self.size)
            made[at] = part[:: -1 if down else 1, :: -1 if across else 1]
        return made


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> Array:
    """Kept, because each batch of an epoch asks for it."""
    order = np.random.default_rng((seed, epoch)).permutation(count)
    order.flags.writeable = False
    return order


def one_epoch(epochs: Epochs, epoch: int = 0, first: int = 0) -> Any:
    """A `tf.data.Dataset` of the batches of one epoch, from batch `first` on; see `Labelled.batches`.

    Raises:
        DataError: the epoch has no such batch.
    """
    import tensorflow as tf

    if not 0 <= first <= epochs.steps:
        raise DataError(f"the epoch cannot begin with batch {first}; expected 0 to {epochs.steps}")
    numbers = tf.data.Dataset.range(first, epochs.steps)
    return _filled(epochs, tf.data.Dataset.zip((tf.data.Dataset.from_tensors(np.int64(epoch)).repeat(), numbers)))


def every_epoch(epochs: Epochs) -> Any:
    """A `tf.data.Dataset` whose first iteration is epoch 0, the second one epoch 1, and so on."""
    import tensorflow as tf

    counter, plain = itertools.count(), tf.autograph.experimental.do_not_convert

    def begun(_: Any) -> Any:
        number = tf.numpy_function(lambda: np.int64(next(counter)), [], tf.int64)
        return tf.ensure_shape(number, [])

    def numbered(epoch: Any) -> Any:
        numbers = tf.data.Dataset.range(epochs.steps)
        return tf.data.Dataset.zip((tf.data.Dataset.from_tensors(epoch).repeat(), numbers))

    pairs = tf.data.Dataset.range(1).map(plain(begun)).flat_map(plain(numbered))
    return _filled(epochs, pairs.apply(tf.data.experimental.assert_cardinality(epochs.steps)))


def _filled(epochs: Epochs, pairs: Any) -> Any:
    """The batches of pairs of epoch and batch number."""
    import tensorflow as tf

    augment = epochs.augment
    turns = augment is not None and augment.turns
    colours = augment is not None and augment.colours

    nothing = np.zeros((0, 8), np.float32)

    def read(epoch: Any, batch: Any) -> tuple[Array, ...]:
        pixels, labels, drawn = epochs.read(int(epoch), int(batch))
        return pixels, labels, drawn.gain, drawn.shift, drawn.transforms(epochs.size) if turns else nothing

    def filled(epoch: Any, batch: Any) -> Any:
        types = [tf.uint8, tf.int32, tf.float32, tf.float32, tf.float32]
        pixels, labels, gain, shift, transforms = tf.numpy_function(read, [epoch, batch], types)
        count, *shape = epochs.shape
        pixels = tf.cast(tf.ensure_shape(pixels, [count, None, None, shape[-1]]), tf.float32)
        if turns:
            pixels = turned(pixels, tf.ensure_shape(transforms, [count, 8]), epochs.size)
        if epochs.side != epochs.size:
            pixels = tf.image.resize(pixels, shape[:2], antialias=True)  # as pictures of that size are made from files
        if colours:
            pixels = coloured(pixels, tf.ensure_shape(gain, [count]), tf.ensure_shape(shift, [count]))
        return tf.ensure_shape(pixels, [count, *shape]), tf.ensure_shape(labels, [count])

    options = tf.data.Options()
    options.deterministic = True
    # There is nothing to tune, and whoever frees an iterator waits for the thread that tunes. In TensorFlow 2.21 that
    # one can miss the call to end and sleep on, for up to a minute after each epoch and each validation.
    options.autotune.enabled = False
    return pairs.map(tf.autograph.experimental.do_not_convert(filled)).prefetch(READY).with_options(options)
