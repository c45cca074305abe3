"""Progressive resizing: a run begins with small pictures, which cost less, and ends with those of the whole size.

    stages = size_stages(64, 128, epochs=10)     # ((5, 64), (3, 96), (2, 128))

Most of what is learned first shows in small pictures as well; the last epochs settle what does not (Tan and Le,
"EfficientNetV2: Smaller Models and Faster Training", 2021, arXiv:2104.00298, section 4; that training below the size of
evaluation can even help: Touvron et al. 2019, arXiv:1906.06423). The shares of the run are those of Composer's
"progressive image resizing".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from eightfold.training.layers import layers

__all__ = ["LEAST", "any_size", "half", "size_stages"]

SMALL, GROWN = 0.5, 0.8
"""Up to which share of the run pictures are smallest, and from which on they have their whole size."""
MULTIPLE = 16
"""Sizes between are multiples of it: networks halve them four or five times."""
LEAST = 32
"""Height and width below which most networks have nothing left to compute."""


def half(side: int) -> int:
    """Half of the height and width of pictures, as they are chosen: a multiple of 16, and no less than 32."""
    return max(LEAST, _rounded(side / 2))


def size_stages(first: int, side: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Stages of (epochs, height and width) in which pictures grow: half of the run as they begin, then half-way.

    The last stage, at least one epoch, is at the whole size. Empty where there is nothing to grow, or only one epoch.
    """
    if first >= side or epochs < 2:
        return ()
    sizes = [_size_at((epoch + 0.5) / epochs, first, side) for epoch in range(epochs - 1)] + [side]
    stages = [(sizes.count(size), size) for size in dict.fromkeys(sizes)]
    return tuple(stages)


def _size_at(done: float, first: int, side: int) -> int:
    """The size when such a share of the run is over."""
    if done < SMALL:
        return first
    return side if done >= GROWN else min(side, max(first, _rounded((first + side) / 2)))


def _rounded(side: float) -> int:
    return MULTIPLE * round(side / MULTIPLE)


@contextmanager
def any_size(model: Any) -> Iterator[None]:
    """Lets a model, and the models in it, be called with pictures of other sizes than those it was made for.

    Keras compares sizes with those of `keras.Input`, whatever the layers could take. A layer that does depend on the
    size, such as a Dense after a Flatten, still raises what it raises.
    """
    inner = [one for one in layers(model) if isinstance(one, keras.models.Model)]
    before = [one.input_spec for one in inner]
    for one in inner:
        one.input_spec = None
    try:
        yield
    finally:
        for one, spec in zip(inner, before, strict=True):
            one.input_spec = spec
