"""Small nets for pictures of 32 x 32 pixels, one of each family that quantization treats differently, trained.

`trained(name, data, folder, epochs)` gives the SavedModel of a net, trained once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["NETS", "load_pictures", "scaled", "trained"]

layers = keras.layers


def resnet20() -> keras.Model:
    """He et al., "Deep Residual Learning", 2016, section 4.2: three stages of three blocks."""
    inputs = keras.Input((32, 32, 3))
    x = _conv(inputs, 16, 3)
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            y = _linear(_conv(x, channels, 3, strides), channels, 3)
            x = layers.ReLU()(layers.Add()([_linear(x, channels, 1, 2) if strides == 2 else x, y]))
    return _classifier(inputs, x, "resnet20")


def mobilenet() -> keras.Model:
    """Inverted residuals with linear bottlenecks (Sandler et al., "MobileNetV2", 2018), narrow."""
    inputs = keras.Input((32, 32, 3))
    x = _conv(inputs, 16, 3, cap=6.0)
    for channels, strides, repeats in ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 1, 2)):
        for block in range(repeats):
            x = _inverted(x, channels, strides if block == 0 else 1)
    return _classifier(inputs, _conv(x, 160, 1, cap=6.0), "mobilenet")


def inception() -> keras.Model:
    """Branches of several widths, pooled ones among them, joined by concatenation (Szegedy et al., 2015)."""
    inputs = keras.Input((32, 32, 3))
    x = _conv(inputs, 32, 3)
    for stage, channels in enumerate((16, 24, 32)):
        for _ in range(2):
            pooled = _conv(layers.AveragePooling2D(3, 1, padding="same")(x), channels, 1)
            deep = _conv(_conv(_conv(x, channels, 1), channels, 3), channels, 3)
            x = layers.Concatenate()(
                [_conv(x, channels, 1), _conv(_conv(x, channels, 1), 2 * channels, 3), deep, pooled]
            )
        if stage < 2:
            x = layers.Concatenate()([layers.MaxPooling2D(3, 2, padding="same")(x), _conv(x, 2 * channels, 3, 2)])
    return _classifier(inputs, x, "inception")


def squeeze_excite() -> keras.Model:
    """Inverted residuals with squeeze-and-excite, HardSwish and Swish (Howard et al., "MobileNetV3", 2019)."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Activation("hard_swish")(_linear(inputs, 16, 3))
    for channels, strides, activation in ((16, 1, "hard_swish"), (24, 2, "hard_swish"), (24, 1, "hard_swish"),
                                          (40, 2, "swish"), (40, 1, "swish"), (64, 1, "swish")):  # fmt: skip
        wide = layers.Activation(activation)(_linear(x, 4 * x.shape[-1], 1))
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(wide))
        y = _linear(_excited(layers.Activation(activation)(y)), channels, 1)
        x = layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y
    return _classifier(inputs, layers.Activation("swish")(_linear(x, 160, 1)), "squeeze_excite")


def _linear(x: Any, channels: int, size: int, strides: int = 1) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(channels, size, strides, padding="same", use_bias=False)(x))


def _conv(x: Any, channels: int, size: int, strides: int = 1, cap: float | None = None) -> Any:
    return layers.ReLU(cap)(_linear(x, channels, size, strides))


def _inverted(x: Any, channels: int, strides: int) -> Any:
    y = _conv(x, 4 * x.shape[-1], 1, cap=6.0)
    y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y)
    y = _linear(layers.ReLU(6.0)(layers.BatchNormalization()(y)), channels, 1)
    return layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y


def _excited(x: Any) -> Any:
    """Each channel scaled by what the mean over the picture says (Hu et al., 2018)."""
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(x.shape[-1] // 4, 1, activation="relu")(mean)
    return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="hard_sigmoid")(gate)])


def _classifier(inputs: Any, x: Any, name: str) -> keras.Model:
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), name=name)


NETS: Mapping[str, Callable[[], keras.Model]] = {
    net.__name__: net for net in (resnet20, mobilenet, inception, squeeze_excite)
}


def load_pictures(path: Path) -> dict[str, np.ndarray]:
    """`x_train`, `y_train`, `x_test`, `y_test` of an .npz file; the pictures scaled."""
    with np.load(path) as file:
        data = {key: file[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    return {key: scaled(value) if key.startswith("x") else value for key, value in data.items()}


def scaled(images: np.ndarray) -> np.ndarray:
    return (images.astype(np.float32) - 127.5) / 64


def trained(name: str, data: Mapping[str, np.ndarray], folder: Path, epochs: int) -> Path:
    """The exported net, trained with SGD, warm-up-free cosine decay, flips and shifts; or the one made before."""
    target = folder / name
    if target.exists():
        return target
    keras.utils.set_random_seed(0)
    model = NETS[name]()
    rate = keras.optimizers.schedules.CosineDecay(0.05, epochs * -(-len(data["x_train"]) // 64))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    model.compile(optimizer, loss, metrics=["accuracy"])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # few steps: the moving averages must keep up
    pipeline = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"]))
    pipeline = pipeline.shuffle(8192, seed=0).map(_augmented, tf.data.AUTOTUNE).batch(64).prefetch(2)
    model.fit(pipeline, epochs=epochs, verbose=2)
    model.export(target, verbose=False)
    return target


def _augmented(image: Any, label: Any) -> tuple[Any, Any]:
    padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]])
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, [32, 32, 3])), label
