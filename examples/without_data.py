"""A model in 8 bits without any data: its ranges are computed while it runs.

python examples/without_data.py
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without VNNI, TensorFlow leaves oneDNN off by itself

import keras
import numpy as np

import eightfold as ef


def main() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
    x = keras.layers.Conv2D(64, 3, activation="tanh")(x)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalMaxPooling2D()(x))
    model = keras.Model(inputs, outputs)

    fast = ef.quantize(model, dynamic=True)
    print(f"{len(fast.report.steps)} products in 8 bits")
    for scale in (1.0, 100.0):  # whatever the size of the input: nothing saturates
        images = np.random.default_rng(0).uniform(0, scale, (4, 32, 32, 3)).astype("float32")
        (value,) = fast(image=images).values()
        expected = np.asarray(model(images))
        print(f"input up to {scale:g}: error {np.abs(value - expected).max() / np.abs(expected).max():.2%}")


if __name__ == "__main__":
    main()
