"""A picture file's bytes to the pixels that a model takes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.preprocess import Preprocess, preprocessing, raw
from eightfold.data.spec import InputSpec
from eightfold.errors import DataError, MissingExtraError
from eightfold.graph.ir import Array

__all__ = ["CROP", "DEFAULT_SIDE", "MODES", "Decoder", "covering", "decoder", "draft", "pillow", "reading", "resized"]

DEFAULT_SIDE = 224
CROP = 0.875
"""The share of the resized picture that the central crop keeps: 224 of 256, as is usual for ImageNet."""
DRAFT = 2 / CROP
"""A JPEG file is decoded at a half, quarter or eighth of its size, which its blocks of 8 x 8 frequencies give for less
work, where that leaves it so many times as large as what the model takes: a factor of 2 is left to the resizing, so
that its smoothing still decides how the picture looks."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes pictures for one input.

    Attributes:
        spec: the input.
        channels: 1, 3 or 4.
        first: the channels are the first axis of an example, not the last.
        height, width: in pixels; None keeps a picture's own size.
        preprocess: what is done to the pixels.
        crop: the picture's centre is taken, in its own proportions; else the whole picture is stretched.
    """

    spec: InputSpec
    channels: int
    first: bool
    height: int | None
    width: int | None
    preprocess: Preprocess
    crop: bool = True

    def __call__(self, data: Path | bytes, name: str) -> Array:
        """The picture as one example, without batch axis; `name` is for the message.

        Raises:
            DataError: the picture cannot be read, or the preprocessing changed its rank.
        """
        pixels = self._pixels(data, name)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if self.preprocess is not raw:  # bytes stay bytes: a quarter of the memory to move
            pixels = np.asarray(self.preprocess(pixels.astype(np.float32)))
        if pixels.ndim != 3:
            raise DataError(f"the preprocessing gave an array of rank {pixels.ndim}; expected height, width, channels")
        if self.spec.numpy.kind in "iu" and pixels.dtype.kind == "f" and np.array_equal(pixels, np.rint(pixels)):
            pixels = pixels.astype(np.int64)  # the check of the range is the data set's
        return pixels.transpose(2, 0, 1) if self.first else pixels

    def _pixels(self, data: Path | bytes, name: str) -> Array:
        with reading(data, name) as opened:
            if self.height is not None and self.width is not None:
                draft(opened, self.height, self.width)
            picture = opened.convert(MODES[self.channels])
        if self.height is not None and self.width is not None:
            made = resized if self.crop else stretched
            picture = made(picture, self.height, self.width)
        return np.asarray(picture)


def decoder(specs: Mapping[str, InputSpec], preprocess: str | None) -> Decoder:
    """The decoder for the model's one picture input; its size is None where the input leaves it free.

    Raises:
        DataError: the model has more inputs, or its input takes no pictures.
        MissingExtraError: Pillow is not installed.
    """
    pillow()
    if len(specs) != 1:
        raise DataError(f"pictures fit a model of one input, and this one has {len(specs)}: {', '.join(specs)}")
    spec = next(iter(specs.values()))
    shape = spec.shape or (None, None, None, None)
    if len(shape) != 4 or spec.dtype == "string":
        raise DataError(f"pictures need an input of rank 4 (batch, height, width, channels), and it is {spec}")
    first = shape[1] in MODES and shape[3] not in MODES
    height, width, channels = (shape[2], shape[3], shape[1]) if first else shape[1:]
    channels = 3 if channels is None else channels
    if channels not in MODES:
        raise DataError(f"pictures have 1, 3 or 4 channels, and the input is {spec}")
    return Decoder(spec, channels, first, height, width, preprocessing(preprocess or "raw"))


@contextmanager
def reading(data: Path | bytes, name: str) -> Iterator[Any]:
    """An open PIL picture; what fails in the block is said of `name`.

    Raises:
        DataError: it cannot be read; the reason alone is its cause.
    """
    image = pillow()
    try:
        with image.open(data if isinstance(data, Path) else io.BytesIO(data)) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, EOFError, image.DecompressionBombError) as error:
        raise DataError(f"the picture {name} cannot be read: {error}") from error


def draft(opened: Any, height: int, width: int) -> None:
    """Has a JPEG file, opened and not yet decoded, decoded no larger than `height` x `width` need; see `DRAFT`."""
    opened.draft(None, (round(DRAFT * width), round(DRAFT * height)))


def resized(picture: Any, height: int, width: int) -> Any:
    """The central `height` x `width` of a PIL picture, resized to keep `CROP` of the tighter side."""
    if picture.size == (width, height):
        return picture
    whole = covering(picture, height, width)
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return whole.crop((left, top, left + width, top + height))


def covering(picture: Any, height: int, width: int) -> Any:
    """The whole PIL picture, resized so that `height` x `width` is `CROP` of its tighter side."""
    scale = max(width / CROP / picture.width, height / CROP / picture.height)
    size = max(round(picture.width * scale), width), max(round(picture.height * scale), height)
    return picture.resize(size, pillow().Resampling.BILINEAR)  # smooths when it shrinks


def stretched(picture: Any, height: int, width: int) -> Any:
    """The whole PIL picture, resized, whatever that does to its proportions."""
    return picture.resize((width, height), pillow().Resampling.BILINEAR)


def pillow() -> Any:
    """The module `PIL.Image`.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "images", "Reading pictures") from None
    return Image
