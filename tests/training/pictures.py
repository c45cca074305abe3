"""Small pictures whose class is easy to see, and nets for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

SIDE = 16
CLASSES = 3


def pictures(count: int = 120, seed: int = 0) -> tuple[Any, Any]:
    """uint8 [count, 16, 16, 3] and classes: the colour channel that is bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 120, (count, SIDE, SIDE, 3))
    pixels[np.arange(count), :, :, labels] += 100
    return pixels.astype(np.uint8), labels


def net(input_shape: Any = (SIDE, SIDE, 3), classes: int = CLASSES, dropout: float = 0.2) -> Any:
    """Two convolutions with batch norms, and a dropout whose generator is part of the state."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(16, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(dropout, seed=1),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="small",
    )
