"""Random changes of pictures that keep their class: what is drawn for each picture of a batch.

Everything is drawn with NumPy from a generator that the caller seeds, and applied by operations without a state of
their own, so that the same seed gives the same pictures however the work is divided.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import cos, radians, sin
from typing import Any

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Augment", "Drawn", "coloured", "turned"]

BEYOND = 8
"""A picture without margin is moved by up to an eighth of its side beyond its edges: 4 of 32 pixels; He et al., "Deep
Residual Learning for Image Recognition", 2016, arXiv:1512.03385, section 4.2. It is mirrored there, not black."""
LEVELS = 255.0


@dataclass(frozen=True, slots=True)
class Augment:
    """What may change; all of it is drawn anew for each picture of each epoch.

    Attributes:
        flip_horizontal: half of the pictures are mirrored; not for text, or where left and right differ.
        flip_vertical: half of them are turned upside down.
        crop: the part that is kept lies anywhere within the margin, not at the centre.
        brightness: added to all pixels, up to this share of the range, up or down.
        contrast: the distance to the picture's mean grows or shrinks by up to this share.
        rotation: up to so many degrees, either way; costs more than all of the above.
        scale: larger or smaller by up to this share; likewise.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = False
    crop: bool = True
    brightness: float = 0.1
    contrast: float = 0.1
    rotation: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("rotation", 180.0), ("scale", 0.9)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise DataError(f"{name} is {value:g}; expected a number from 0 to {most:g}")

    @property
    def turns(self) -> bool:
        """Whether pixels are interpolated."""
        return self.rotation > 0 or self.scale > 0

    @property
    def colours(self) -> bool:
        """Whether the values of pixels change."""
        return self.brightness > 0 or self.contrast > 0

    def draw(self, rng: np.random.Generator, count: int, size: int, stored: int) -> Drawn:
        """For `count` pictures of `stored` x `stored` pixels, of which `size` x `size` are kept.

        The same numbers are taken from the generator whatever is switched on.
        """
        margin = stored - size
        shift = size // BEYOND
        least, most = (0, margin) if margin else (-shift, shift)
        corners = rng.integers(least, most, size=(count, 2), endpoint=True)
        mirrored, upside_down = (rng.random((2, count)) < 0.5) & [[self.flip_horizontal], [self.flip_vertical]]
        bright, contrast, angle, scale = rng.uniform(-1, 1, (4, count))
        return Drawn(
            corners if self.crop else np.full((count, 2), margin // 2),
            mirrored,
            upside_down,
            (1 + self.contrast * contrast).astype(np.float32),
            (LEVELS * self.brightness * bright).astype(np.float32),
            self.rotation * angle,
            1 + self.scale * scale,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One number or pair for each picture of a batch.

    Attributes:
        corners: top and left of what is kept, [n, 2]; they may lie outside of the picture.
        mirrored, upside_down: bool [n].
        gain, shift: float32 [n]; see `coloured`.
        degrees: counter-clockwise [n].
        scale: [n], 1.1 shows things larger by a tenth.
    """

    corners: Array
    mirrored: Array
    upside_down: Array
    gain: Array
    shift: Array
    degrees: Array
    scale: Array

    def part(self, which: slice) -> Drawn:
        """Of some of the pictures."""
        return Drawn(*(getattr(self, one.name)[which] for one in fields(self)))

    def transforms(self, size: int) -> Array:
        """Where in the whole picture each pixel of the kept part comes from: float32 [n, 8] as `turned` takes them.

        Rotation, scale and flips are about the centre of the part.
        """
        return np.array([self._transform(at, (size - 1) / 2) for at in range(len(self.gain))], np.float32).reshape(
            -1, 8
        )

    def _transform(self, at: int, centre: float) -> tuple[float, ...]:
        """x' = a·x + b·y + c, y' = d·x + e·y + f, as (a, b, c, d, e, f, 0, 0)."""
        turn, zoom = radians(self.degrees[at]), 1 / self.scale[at]
        across, down = -1.0 if self.mirrored[at] else 1.0, -1.0 if self.upside_down[at] else 1.0
        a, b = zoom * cos(turn) * across, -zoom * sin(turn) * down
        d, e = zoom * sin(turn) * across, zoom * cos(turn) * down
        top, left = self.corners[at]
        return a, b, left + centre - (a + b) * centre, d, e, top + centre - (d + e) * centre, 0.0, 0.0


def coloured(pixels: Any, gain: Any, shift: Any) -> Any:
    """Contrast and brightness: gain · (pixel - mean of its picture) + mean + shift, kept within 0..255.

    Args:
        pixels: a tensor, float32 [n, height, width, channels].
        gain, shift: float32 [n].
    """
    import tensorflow as tf

    shape = tf.shape(pixels)
    rows = tf.reshape(pixels, [shape[0], -1])  # two axes: TensorFlow broadcasts these several times faster than four
    mean = tf.reduce_mean(rows, axis=1, keepdims=True)
    gain, shift = gain[:, None], shift[:, None]
    return tf.reshape(tf.clip_by_value(rows * gain + (mean * (1 - gain) + shift), 0.0, LEVELS), shape)


def turned(pixels: Any, transforms: Any, size: int) -> Any:
    """The kept part of each picture, bilinear between pixels, mirrored beyond the edges.

    Args:
        pixels: a tensor, float32 [n, height, width, channels].
        transforms: float32 [n, 8]; see `Drawn.transforms`.
        size: of the result, float32 [n, size, size, channels].
    """
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
