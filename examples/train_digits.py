"""Trains a small classifier of handwritten digits for the README's quick start and the tutorials.

    python examples/train_digits.py [FOLDER]

Writes to the folder: digits/ (a SavedModel), digits.keras, and digits.npz and test.npz (x: pictures, y: labels).
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """1,797 pictures of 32 x 32 pixels, float32 in 0..1, in random order, and their digits."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    large = np.kron(x[order].reshape(-1, 8, 8, 1) / 16, np.ones((1, 4, 4, 1)))
    return large.astype("float32"), y[order]


def classifier() -> keras.Model:
    """Three convolutions with batch norm, a residual addition, and a dense layer."""
    inputs = keras.Input((32, 32, 1), name="image")
    x = keras.layers.Conv2D(64, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = shortcut = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.Add()([keras.layers.BatchNormalization(momentum=0.9)(x), shortcut]))
    x = keras.layers.Conv2D(128, 3, strides=2, activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="scores")(x))


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    (x, y), model = pictures(), classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(x[:1437], y[:1437], epochs=6, batch_size=64, verbose=0)
    model.evaluate(x[1437:], y[1437:], verbose=2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "digits.keras")
    model.export(folder / "digits", verbose=False)
    np.savez(folder / "digits.npz", x=x[:1437], y=y[:1437])
    np.savez(folder / "test.npz", x=x[1437:], y=y[1437:])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
