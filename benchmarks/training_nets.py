"""Networks for the benchmark of training, as `module:function` of `eightfold train` and for plain Keras scripts."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["resnet18", "resnet18_slim", "resnet50"]

Shape = tuple[int, int, int]


def resnet18(input_shape: Shape, classes: int) -> Any:
    """ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", 2016, table 1), 11.2 M parameters."""
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = _normalized(keras.layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False)(x))
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    return _stages(inputs, x, 64, classes, "resnet18")


def resnet18_slim(input_shape: Shape, classes: int) -> Any:
    """ResNet-18 of a quarter of its width, which begins as one for small pictures, 0.7 M parameters."""
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = _normalized(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x))
    return _stages(inputs, x, 16, classes, "resnet18_slim")


def resnet50(input_shape: Shape, classes: int) -> Any:
    """Keras's ResNet-50 with a head for these classes."""
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.applications.ResNet50(include_top=False, weights=None, input_shape=input_shape, pooling="avg")(x)
    x = keras.layers.Dense(classes)(x)
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32")(x), name="resnet50")


def _stages(inputs: Any, x: Any, width: int, classes: int, name: str) -> Any:
    """The four stages of two blocks, each twice as wide as the one before, and what comes after them."""
    for stage in range(4):
        for block in range(2):
            x = _block(x, width * 2**stage, 2 if stage and not block else 1)
    x = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32")(x), name=name)


def _normalized(x: Any) -> Any:
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))


def _block(x: Any, channels: int, stride: int) -> Any:
    """Two convolutions beside a shortcut."""
    shortcut = x
    x = _normalized(keras.layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False)(x))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(channels, 3, padding="same", use_bias=False)(x))
    if stride > 1 or shortcut.shape[-1] != channels:
        shortcut = keras.layers.Conv2D(channels, 1, strides=stride, use_bias=False)(shortcut)
        shortcut = keras.layers.BatchNormalization()(shortcut)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
