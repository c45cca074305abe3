"""The part of a picture that training keeps: what evaluation sees of it, with a margin around it for random crops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.pictures import CROP, MODES, covering, draft, pillow, reading
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Square", "window"]

LEVELS = 255
"""The largest value of a pixel."""


@dataclass(frozen=True, slots=True)
class Square:
    """The central square of a picture, so large that `resized` keeps `CROP` of its side.

    Its central `size` x `size` pixels are those that `resized` gives to evaluation and prediction, bit for bit. A
    picture that is exactly so large is not resized there, and so has no margin of its own: it is mirrored at its edges.

    Attributes:
        size: height and width of what a model takes.
        channels: 1, 3 or 4.
        margin: whether there is one.
    """

    size: int
    channels: int = 3
    margin: bool = True

    @property
    def stored(self) -> int:
        """Height and width with the margin."""
        return round(self.size / CROP) if self.margin else self.size

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.stored, self.stored, self.channels

    @property
    def corner(self) -> int:
        """Where the central `size` x `size` pixels begin, from the left and from the top."""
        return (self.stored - self.size) // 2

    def write(self, data: Path | bytes | Array, name: str, target: Array) -> str | None:
        """Writes the square of one picture.

        Args:
            data: a picture file, its bytes, or pixels [height, width, channels], whole numbers from 0 to 255.
            name: for the message.
            target: uint8 `shape`.

        Returns:
            What kind of file it is, by its content (`JPEG`), or `None` for pixels.

        Raises:
            DataError: the picture cannot be read.
        """
        if isinstance(data, np.ndarray):
            target[:] = self._square(_levels(data, name))
            return None
        with reading(data, name) as opened:
            draft(opened, self.size, self.size)
            picture, kind = opened.convert(MODES[self.channels]), str(opened.format)
        target[:] = self._square(picture)
        return kind

    def _square(self, picture: Any) -> Array:
        """Of a PIL picture or of pixels."""
        size = picture.shape[1::-1] if isinstance(picture, np.ndarray) else picture.size
        if size == (self.size, self.size):
            return window(self._pixels(picture), -self.corner, -self.corner, self.stored)
        if isinstance(picture, np.ndarray):
            picture = pillow().fromarray(picture[..., 0] if self.channels == 1 else picture)
        whole = covering(picture, self.size, self.size)
        left, top = ((side - self.size) // 2 - self.corner for side in whole.size)
        return self._pixels(whole.crop((left, top, left + self.stored, top + self.stored)))

    def _pixels(self, picture: Any) -> Array:
        pixels = np.asarray(picture)
        return pixels if pixels.ndim == 3 else pixels[..., None]


def window(pixels: Array, top: int, left: int, side: int) -> Array:
    """`side` x `side` of the pixels [height, width, channels]; a view, or mirrored where it reaches beyond an edge."""
    height, width = pixels.shape[:2]
    if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
        return pixels[top : top + side, left : left + side]
    return pixels[_mirrored(top, side, height)[:, None], _mirrored(left, side, width)]


def _mirrored(start: int, count: int, length: int) -> Array:
    """Indices below `length`: those beyond an end come back from it, as `np.pad` calls `reflect`."""
    turn = max(2 * (length - 1), 1)
    at = np.arange(start, start + count) % turn
    return np.minimum(at, turn - at) if length > 1 else np.zeros(count, np.intp)


def _levels(pixels: Array, name: str) -> Array:
    """The pixels as uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind in "iuf" and np.isfinite(pixels).all():
        low, high = pixels.min(), pixels.max()
        if low >= 0 and high <= LEVELS and np.array_equal(pixels, np.rint(pixels)):
            return pixels.astype(np.uint8)
        found = f"{pixels.dtype} from {low:g} to {high:g}"
    else:
        found = f"{pixels.dtype}, not all of them finite numbers"
    raise DataError(f"the pixels of {name} are {found}; expected whole numbers from 0 to {LEVELS}")
