"""What is done to a picture's pixels before a model sees them: the conventions in use.

Steps after the first are in place: a new array of the size of a picture costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from eightfold.data.imported import imported, names_function
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["PREPROCESSING", "Preprocess", "preprocessing", "raw"]

Preprocess: TypeAlias = Callable[[Array], Array]
"""Takes RGB pixels 0..255 as float32[..., H, W, channels]; gives what the model takes, of the same rank."""

# Means and deviations of ImageNet's training pictures, as keras.applications and torchvision state them.
TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


def raw(pixels: Array) -> Array:
    """0..255 as they are."""
    return pixels


def tf(pixels: Array) -> Array:
    """-1..1, as Inception, MobileNet and ResNet V2 were trained."""
    scaled: Array = pixels / np.float32(127.5)
    scaled -= np.float32(1)
    return scaled


def torch(pixels: Array) -> Array:
    """0..1, then standardised per channel, as torchvision's models and DenseNet were trained."""
    scaled: Array = _rgb(pixels, "torch") / np.float32(255)
    scaled -= TORCH_MEAN
    scaled /= TORCH_STD
    return scaled


def caffe(pixels: Array) -> Array:
    """BGR with ImageNet's mean taken off, not scaled, as Keras' ResNet V1 and VGG were trained."""
    return _rgb(pixels, "caffe")[..., ::-1] - CAFFE_MEAN_BGR


PREPROCESSING: dict[str, Preprocess] = {f.__name__: f for f in (raw, tf, torch, caffe)}


def preprocessing(name: str) -> Preprocess:
    """The preprocessing of that name, or the user's own as `module:function`.

    Raises:
        DataError: there is none of that name.
    """
    if name in PREPROCESSING:
        return PREPROCESSING[name]
    if names_function(name):
        function: Preprocess = imported(name)
        return function
    raise DataError(f"unknown preprocessing '{name}'; expected {', '.join(PREPROCESSING)} or module:function")


def _rgb(pixels: Array, name: str) -> Array:
    if pixels.shape[-1] != 3:
        raise DataError(f"the preprocessing '{name}' is for 3 colours, and the pictures have {pixels.shape[-1]}")
    return pixels
