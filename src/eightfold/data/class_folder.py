"""A folder of pictures as data sets for `fit`, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eightfold.data.augment import Augment
from eightfold.data.decoding import Misnamed, Progress, Skipped
from eightfold.data.epochs import every_epoch, one_epoch
from eightfold.data.labelled import Cache, read_labelled
from eightfold.data.training_data import training_data
from eightfold.errors import DataError

__all__ = ["ImageFolder", "image_folder"]


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """What training needs of a folder.

    Attributes:
        train: a `tf.data.Dataset` of (float32 [b, size, size, channels] in 0..255, int32 labels [b]); each iteration
            has another order and other augmentations.
        validation: likewise, always in the same order and without augmentation.
        classes: their names by number.
        class_weights: by number, so that each class weighs the same in training; `class_weight` of `fit`.
        skipped: pictures that cannot be read.
        misnamed: files whose content is not what their name says.
    """

    train: Any
    validation: Any
    classes: tuple[str, ...]
    class_weights: dict[int, float]
    skipped: tuple[Skipped, ...]
    misnamed: tuple[Misnamed, ...]


def image_folder(
    path: str | Path,
    image_size: int,
    batch_size: int = 32,
    *,
    validation: float = 0.2,
    seed: int = 0,
    augment: bool | Augment = True,
    channels: int = 3,
    cache: Cache = "auto",
    cache_folder: str | Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ImageFolder:
    """The pictures of a folder, for a Keras model:

        data = ef.data.image_folder("pictures/", 128)
        model.fit(data.train, validation_data=data.validation, class_weight=data.class_weights, shuffle=False)

    All pictures are decoded here, once, and held as bytes; see `eightfold.data.labelled.read_labelled`. A script that
    is run again trains on the same batches. They are shuffled already; `shuffle=False` tells Keras so.

    Args:
        path: with a sub-folder for each class; or with `train` and `validation` (also `val`, `valid`), each of which
            has these.
        image_size: height and width in pixels.
        batch_size: of both data sets; the last batch may be smaller.
        validation: the share of each class that validates, unless the folder is split already.
        seed: of the split, the order and the augmentation.
        augment: what is changed at random in training: by default flips left to right, crops, brightness and
            contrast; False for nothing.
        channels: 1, 3 or 4.
        cache: "memory", "disk" or "auto": by size.
        cache_folder: where the decoded pictures are kept on disk, for this and later runs.
        threads: how many decode; by default one for each core.
        progress: told the pictures decoded and all pictures.

    Raises:
        DataError: there are no such folders, too few pictures, or options that make no sense.
        OutputError: the cache cannot be written.
        MissingExtraError: Pillow is not installed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected one with a sub-folder of pictures for each class")
    read = partial(
        read_labelled,
        size=image_size,
        channels=channels,
        cache=cache,
        cache_folder=None if cache_folder is None else Path(cache_folder),
        threads=threads,
        progress=progress,
    )
    found = training_data(root, read, validation=validation, seed=seed)
    changes = augment if isinstance(augment, Augment) else Augment() if augment else None
    return ImageFolder(
        train=every_epoch(found.train.epochs(found.rows, batch_size, seed=seed, augment=changes)),
        validation=one_epoch(found.held.epochs(found.held_rows, batch_size, shuffle=False)),
        classes=found.classes,
        class_weights=found.train.class_weights(found.rows),
        skipped=found.skipped,
        misnamed=found.misnamed,
    )
