"""Labelled pictures, decoded once and held as bytes, for training: any epoch of them is then a matter of copying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eightfold.data.augment import Augment
from eightfold.data.classes import numbered
from eightfold.data.decoding import Decoded, Misnamed, Progress, Skipped, decode
from eightfold.data.epochs import Epochs, one_epoch
from eightfold.data.examples import Examples, examples
from eightfold.data.pictures import MODES, pillow
from eightfold.data.pixel_file import PixelFile, digest
from eightfold.data.square import Square
from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.system.memory import memory
from eightfold.system.topology import topology

__all__ = ["Cache", "Labelled", "read_labelled"]

Cache = Literal["auto", "memory", "disk"]
SHARE = 0.25
"""Of the free memory that pictures take by themselves; the model and the batches need theirs."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Pictures and their classes.

    Attributes:
        pixels: uint8 [n, stored, stored, channels]: the central `size` x `size` is what a model is given elsewhere,
            and around it is a margin for random crops, unless the pictures came as arrays of that size.
        labels: int64 [n], numbers of classes.
        classes: names of the classes by number.
        names: of each picture, for messages.
        skipped: what could not be read.
        misnamed: files whose content is not what their name says.
        size: height and width of what a model takes.
    """

    pixels: Array
    labels: Array
    classes: tuple[str, ...]
    names: Sequence[str]
    skipped: tuple[Skipped, ...]
    misnamed: tuple[Misnamed, ...]
    size: int

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many pictures each class has."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def class_weights(self, rows: Array | None = None) -> dict[int, float]:
        """What a picture of each class weighs so that all classes weigh the same; `class_weight` of `fit`.

        n / (classes · pictures of the class), as scikit-learn's "balanced" (King and Zeng, "Logistic Regression in
        Rare Events Data", 2001); classes without pictures are left out.

        Args:
            rows: of which pictures; by default all.
        """
        labels = self.labels if rows is None else self.labels[rows]
        present, counts = np.unique(labels, return_counts=True)
        weights = len(labels) / (len(present) * counts)
        return dict(zip(present.tolist(), weights.tolist(), strict=True))

    def epochs(
        self,
        rows: Array,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        drop_remainder: bool = False,
    ) -> Epochs:
        """What each batch of each epoch holds; see `batches` for the arguments.

        Raises:
            DataError: there are no rows, too few for one batch, or the batch size is not positive.
        """
        return Epochs(
            pixels=self.pixels,
            labels=self.labels,
            size=self.size,
            rows=np.asarray(rows, np.int64),
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            augment=augment,
            drop_remainder=drop_remainder,
        )

    def batches(
        self,
        rows: Array,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        first: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        drop_remainder: bool = False,
    ) -> Any:
        """One epoch as a `tf.data.Dataset` of (float32 [b, size, size, channels] in 0..255, int32 labels [b]).

        The same arguments give the same batches in every run, whatever the machine; so does an epoch that is begun in
        its middle.

        Args:
            rows: of which pictures.
            batch_size: the last batch may be smaller.
            seed: of order and augmentation.
            epoch: its number: each has another order and other augmentations.
            first: the batch to begin with; those before it are not computed.
            shuffle: else the rows keep their order.
            augment: what is done to the pictures; by default nothing: they are what evaluation sees.
            drop_remainder: a smaller last batch is left out.

        Raises:
            DataError: there are no rows, too few for one batch, or the batch size is not positive.
        """
        plan = self.epochs(rows, batch_size, seed=seed, shuffle=shuffle, augment=augment, drop_remainder=drop_remainder)
        return one_epoch(plan, epoch, first)


def read_labelled(
    source: Any,
    *,
    size: int,
    channels: int = 3,
    classes: Sequence[str] | None = None,
    cache: Cache = "auto",
    cache_folder: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """Reads all pictures and their classes, and decodes them, before training begins.

    JPEG files are decoded at a half, quarter or eighth of their size where that is enough, in several threads. Files
    that cannot be read are skipped and reported, and so are those whose content is not what their name says, which are
    used all the same.

    Args:
        source: a folder with a sub-folder for each class; TFRecord files with `image/encoded` and a label; an `.npz`
            file with `x`, whole numbers 0..255 [n, height, width, channels], and `y`; such arrays as `(x, y)`;
            `module:function`; or anything else with labels that `eightfold.data.load` reads.
        size: height and width that the model takes.
        channels: 1, 3 or 4.
        classes: their names by number, where others are wanted than the sorted ones that are found; numbers in the
            data count from 0.
        cache: where the pixels are: in "memory", or in a file on "disk" that the next run and other processes use
            again; "auto" takes such a file if there is one, else memory if the pixels need less than a quarter of what
            is free, else the disk.
        cache_folder: for the files.
        threads: how many decode; by default one for each core.
        progress: told the pictures decoded and all pictures.

    Raises:
        DataError: there is no such data; it has no labels, or one class; no picture of a class can be read; or a
            TFRecord file is damaged.
        OutputError: the cache cannot be written.
        MissingExtraError: Pillow is not installed.
    """
    if size < 1 or channels not in MODES or (threads is not None and threads < 1):
        raise DataError(
            f"expected a size and a number of threads of 1 or more, and 1, 3 or 4 channels; received size {size}, "
            f"{channels} channels, {'default' if threads is None else threads} threads"
        )
    given = examples(source, channels)
    square = Square(size, channels, margin=given.same != (size, size))
    tell = progress or (lambda *_: None)
    workers = threads or topology().usable
    if given.ready is not None and not square.margin:
        pixels, decoded = given.ready, _as_they_are(given)
    else:
        pixels, decoded = _pixels(given, square, _file(given, square, cache, cache_folder), workers, tell)
    labels, names = numbered(decoded, classes)
    return Labelled(pixels, labels, names, decoded.names, decoded.skipped, decoded.misnamed, size)


def _as_they_are(given: Examples) -> Decoded:
    both = [(example.label, example.name) for example in given.read()]
    return Decoded(tuple(label for label, _ in both), tuple(name for _, name in both), (), ())


def _file(given: Examples, square: Square, cache: Cache, folder: Path | None) -> PixelFile | None:
    """The file that has the pixels or is to have them; `None` for memory.

    Raises:
        DataError: the disk is asked for or needed, and there is no folder, or no way to tell the data again.
    """
    if cache not in ("auto", "memory", "disk"):
        raise DataError(f"unknown cache '{cache}'; expected auto, memory or disk")
    if cache == "memory":
        return None
    file = None
    if folder is not None and given.identity is not None:
        how = (square.size, square.channels, square.margin, pillow().__version__)
        file = PixelFile(Path(folder).expanduser(), digest(how, given.identity()))
    if cache == "auto" and not (file is not None and file.finished()):
        free, needed = memory().free, given.count * int(np.prod(square.shape))
        if needed < SHARE * free or given.identity is None:
            return None
        if file is None:
            raise DataError(
                f"the pictures need {needed / 1e9:.1f} GB, more than a quarter of the {free / 1e9:.1f} GB that are "
                "free; expected a folder for a file of them (cache_folder), or cache='memory'"
            )
    if file is None:
        lacking = "no folder for it is named (cache_folder)" if folder is None else "a stream cannot be told again"
        raise DataError(f"the pictures cannot be kept on disk: {lacking}; expected files or arrays, and a folder")
    return file


def _pixels(
    given: Examples, square: Square, file: PixelFile | None, threads: int, tell: Progress
) -> tuple[Array, Decoded]:
    shape = (given.count, *square.shape)
    if file is None:
        pixels = np.empty(shape, np.uint8)
        decoded = decode(given, square, pixels, threads, tell)
        return pixels[: len(decoded.names)], decoded
    if not file.finished():  # asked again below: another process may make it meanwhile
        with file.alone():
            if not file.finished():
                with file.room(shape) as room:
                    file.finish(room, decode(given, square, room, threads, tell))
    return file.read()
