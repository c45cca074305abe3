"""Photographs that come with scikit-learn, for demonstrations without a download."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.data.pictures import pillow, resized
from eightfold.errors import DataError, MissingExtraError

__all__ = ["sample_photos"]

SEED = 8


def sample_photos(count: int, side: int = 224) -> npt.NDArray[np.uint8]:
    """`count` square RGB pictures as uint8[count, side, side, 3], the same in every run.

    The first two are scikit-learn's `china.jpg` and `flower.jpg`; the others are parts of them, of random
    place and size (a third to the whole of the shorter side), every second one mirrored.

    Raises:
        DataError: `count` or `side` is not positive.
        MissingExtraError: scikit-learn or Pillow is not installed.
    """
    if count < 1 or side < 1:
        raise DataError(f"expected a positive number of pictures and pixels, not {count} of {side} x {side}")
    photos = [pillow().fromarray(array) for array in _photographs()]
    rng = np.random.default_rng(SEED)
    pictures = [resized(photo, side, side) for photo in photos]
    while len(pictures) < count:
        pictures.append(_part(photos[len(pictures) % len(photos)], side, rng, mirrored=len(pictures) % 4 >= 2))
    return np.stack([np.asarray(picture) for picture in pictures[:count]])


def _photographs() -> list[npt.NDArray[np.uint8]]:
    pillow()
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise MissingExtraError("scikit-learn", "demo", "The sample photographs") from None
    images: list[npt.NDArray[np.uint8]] = load_sample_images().images
    return images


def _part(photo: Any, side: int, rng: np.random.Generator, *, mirrored: bool) -> Any:
    image = pillow()
    shorter = min(photo.size)
    edge = int(rng.integers(shorter // 3, shorter, endpoint=True))
    left, top = (int(rng.integers(0, whole - edge, endpoint=True)) for whole in photo.size)
    box = (left, top, left + edge, top + edge)
    part = photo.resize((side, side), image.Resampling.BILINEAR, box=box)
    return part.transpose(image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part
