"""The four steps behind `ef.quantize`, and another plan without another calibration.

python examples/step_by_step.py
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without VNNI, TensorFlow leaves oneDNN off by itself

import keras
import numpy as np

import eightfold as ef


def network() -> keras.Model:
    inputs = keras.Input((32, 32, 3), name="image")
    x = shortcut = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="first")(inputs)
    x = keras.layers.Conv2D(32, 3, padding="same", name="second")(x)
    x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.Conv2D(32, 3, strides=2, name="third")(x)
    x = keras.layers.LeakyReLU()(x)
    return keras.Model(inputs, keras.layers.Dense(10, name="scores")(keras.layers.GlobalAveragePooling2D()(x)))


def main() -> None:
    images = np.random.default_rng(0).uniform(0, 1, (64, 32, 32, 3)).astype("float32")
    keras.utils.set_random_seed(0)

    model = ef.export(network())
    plan = ef.plan(model)
    for step in plan.steps:
        print(f"8-bit  {step.rewrite.name:14} {step.name}")
    for refusal in plan.refusals:
        print(f"float  {refusal.op:14} {refusal.node}: {refusal.reason}")

    ranges = ef.calibrate(model, plan, images)
    fast = ef.lower(model, plan, ranges)
    first = next(step.name for step in plan.steps)
    careful = ef.lower(model, plan.without(first), ranges)  # the same ranges: no new calibration
    (name,) = model.default.inputs
    (scores,) = model.default.outputs
    expected = network_output(model, images[:8])
    for title, quantized in (("all steps", fast), ("all but the first", careful)):
        error = np.abs(quantized(**{name: images[:8]})[scores] - expected).max() / np.abs(expected).max()
        print(f"{title}: largest error {error:.2%} of the largest score")


def network_output(model: ef.Model, images: np.ndarray) -> np.ndarray:
    """What the exported float model computes: a plan without steps is the float model."""
    plan = ef.plan(model, ef.Recipe(exclude=["."]))
    (value,) = ef.lower(model, plan, {})(**dict.fromkeys(model.default.inputs, images)).values()
    return value


if __name__ == "__main__":
    main()
