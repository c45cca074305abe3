"""Trains small nets on CIFAR-sized pictures, quantizes them with default settings, and scores both on test pictures.

    python benchmarks/cifar.py DATA.npz [--work-dir build/cifar] [--epochs 20] [--nets resnet20,mobilenet]

DATA.npz holds x_train, y_train, x_test, y_test: uint8 pictures [N, 32, 32, 3] and integer labels. CIFAR-10's own
files can be turned into it with NumPy alone. Trained models are kept in the work folder and used again.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import report
import tensorflow as tf

import eightfold as ef
from eightfold.bench import this_machine

layers = keras.layers


def resnet20() -> keras.Model:
    """He et al., "Deep Residual Learning", 2016, section 4.2: three stages of three blocks."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            y = layers.Conv2D(channels, 3, strides, padding="same", use_bias=False)(x)
            y = layers.ReLU()(layers.BatchNormalization()(y))
            y = layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same", use_bias=False)(y))
            if strides == 2:
                x = layers.BatchNormalization()(layers.Conv2D(channels, 1, 2, use_bias=False)(x))
            x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), name="resnet20")


def mobilenet() -> keras.Model:
    """Inverted residuals with linear bottlenecks (Sandler et al., "MobileNetV2", 2018), narrow and for 32 pixels."""
    inputs = keras.Input((32, 32, 3))
    x = _normed(layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs), 6.0)
    for channels, strides, repeats in ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 1, 2)):
        for block in range(repeats):
            x = _inverted(x, channels, strides if block == 0 else 1)
    x = _normed(layers.Conv2D(160, 1, use_bias=False)(x), 6.0)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), name="mobilenet")


def _normed(x: Any, cap: float | None) -> Any:
    return layers.ReLU(cap)(layers.BatchNormalization()(x))


def _inverted(x: Any, channels: int, strides: int) -> Any:
    y = _normed(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x), 6.0)
    y = _normed(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y), 6.0)
    y = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y


NETS: dict[str, Callable[[], keras.Model]] = {"resnet20": resnet20, "mobilenet": mobilenet}


def trained(name: str, data: dict[str, np.ndarray], folder: Path, epochs: int) -> Path:
    """The exported net, trained with SGD, warm-up-free cosine decay, flips and shifts; or the one made before."""
    target = folder / name
    if target.exists():
        return target
    keras.utils.set_random_seed(0)
    model = NETS[name]()
    steps = epochs * -(-len(data["x_train"]) // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.05, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-4), loss, metrics=["accuracy"]
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # few steps: the moving averages must keep up
    pipeline = tf.data.Dataset.from_tensor_slices((scaled(data["x_train"]), data["y_train"]))
    pipeline = pipeline.shuffle(8192, seed=0).map(_augmented, tf.data.AUTOTUNE).batch(64).prefetch(2)
    model.fit(pipeline, epochs=epochs, verbose=2)
    model.export(target, verbose=False)
    return target


def _augmented(image: Any, label: Any) -> tuple[Any, Any]:
    padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]])
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, [32, 32, 3])), label


def scaled(images: np.ndarray) -> np.ndarray:
    return (images.astype(np.float32) - 127.5) / 64


def predictions(model: Path, images: np.ndarray) -> np.ndarray:
    """Top classes of a saved model, run by TensorFlow alone."""
    run = tf.saved_model.load(str(model)).signatures["serving_default"]
    parts = [next(iter(run(tf.constant(part)).values())).numpy() for part in np.array_split(images, 10)]
    return np.concatenate(parts).argmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work-dir", type=Path, default=Path("build/cifar"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--nets", default="resnet20,mobilenet")
    options = parser.parse_args()
    with np.load(options.data) as file:
        data = {key: file[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    rows = []
    for name in options.nets.split(","):
        path = trained(name, data, options.work_dir, options.epochs)
        fast = ef.quantize(path, scaled(data["x_train"][:500]), recipe=ef.Recipe(fallback=False))
        saved = fast.save(options.work_dir / f"{name}-int8", overwrite=True)
        test = scaled(data["x_test"])
        before, after = predictions(path, test), predictions(saved, test)
        row = {
            "net": name,
            "examples": len(test),
            "fp32_top1": float((before == data["y_test"]).mean()),
            "int8_top1": float((after == data["y_test"]).mean()),
            "agreement": float((before == after).mean()),
            "sqnr_db": fast.report.fidelity.sqnr_db if fast.report.fidelity else None,
            "machine": str(this_machine()),
            "command": "python benchmarks/cifar.py DATA.npz",
        }
        print(row)
        rows.append(row)
    report.record("cifar", rows, ("net",))


if __name__ == "__main__":
    main()
