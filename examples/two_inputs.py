"""A model of two inputs, calibrated with batches from a generator.

    python examples/two_inputs.py

On the command line the same function is `--data two_inputs:batches`.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without VNNI, TensorFlow leaves oneDNN off by itself

from collections.abc import Iterator

import keras
import numpy as np

import eightfold as ef


def network() -> keras.Model:
    """A picture and five measurements make one score."""
    image, facts = keras.Input((32, 32, 3), name="image"), keras.Input((5,), name="facts")
    x = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(image)
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu")(x)
    x = keras.layers.Concatenate()([keras.layers.Flatten()(x), facts])
    x = keras.layers.Dense(64, activation="relu")(x)
    return keras.Model({"image": image, "facts": facts}, keras.layers.Dense(1, name="score")(x))


def batches() -> Iterator[dict[str, np.ndarray]]:
    """Ten batches of eight examples; arrays are bound to inputs by name."""
    random = np.random.default_rng(0)
    for _ in range(10):
        image = random.uniform(0, 1, (8, 32, 32, 3)).astype("float32")
        yield {"image": image, "facts": random.normal(size=(8, 5)).astype("float32")}


def main() -> None:
    keras.utils.set_random_seed(0)
    fast = ef.quantize(network(), batches, recipe=ef.Recipe(observer="mse", fallback=False))
    print(f"{len(fast.report.steps)} ops in 8 bits: {dict(fast.report.counts)}")
    print(f"{fast.report.fidelity.sqnr_db:.1f} dB on {fast.report.fidelity.samples} examples kept from calibration")


if __name__ == "__main__":
    main()
