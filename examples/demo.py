"""What `make demo` runs: quantizes a digits classifier and ResNet-50, and prints what came of it.

    python examples/demo.py [--work-dir build/demo]

About four minutes on two cores. Everything it needs ships with its dependencies: scikit-learn's handwritten digits
and sample photographs. ResNet-50 gets its trained weights when Keras can fetch them, seeded ones otherwise.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without VNNI, TensorFlow leaves oneDNN off by itself

import argparse
import socket
import sys
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import eightfold as ef
from eightfold.bench import Runtime, compare
from eightfold.data import preprocessing, sample_photos

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from models import settle, settle_head

console = Console()


def digits(folder: Path) -> None:
    """Trains a small CNN on 1,437 digits, quantizes it, and scores both on the other 360."""
    console.rule("handwritten digits (scikit-learn): train, quantize, score")
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order].reshape(-1, 8, 8, 1) / 16).astype("float32"), labels[order]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.DepthwiseConv2D(3, padding="same"),
            keras.layers.ReLU(6.0),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(x[:1437], y[:1437], epochs=30, batch_size=64, verbose=0)
    model.export(folder / "digits", verbose=False)
    fast = ef.quantize(folder / "digits", x[:1437], recipe=ef.Recipe(fallback=False))
    fast.save(folder / "digits-int8", overwrite=True)
    for name, title in (("digits", "fp32"), ("digits-int8", "int8")):
        console.print(f"  {title} accuracy: {score(folder / name, x[1437:], y[1437:])}")


def score(path: Path, x: np.ndarray, y: np.ndarray) -> str:
    return f"{(answers(path, x) == y).mean():.4f}"


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    """Top classes of a saved model, run by TensorFlow alone."""
    import tensorflow as tf

    run = tf.saved_model.load(str(path)).signatures["serving_default"]
    scores = [next(iter(run(tf.constant(part)).values())).numpy() for part in np.array_split(x, -(-len(x) // 32))]
    return np.concatenate(scores).argmax(-1)


def resnet50(folder: Path) -> None:
    """Quantizes ResNet-50 with 100 photograph crops and compares size, answers and speed."""
    console.rule("ResNet-50 (keras.applications): quantize, compare, time")
    model = resnet50_model()
    photos = preprocessing("caffe")(sample_photos(164).astype("float32"))
    model.export(folder / "resnet50", verbose=False)
    fast = ef.quantize(folder / "resnet50", photos[:100])
    fast.save(folder / "resnet50-int8", overwrite=True)
    names = ("resnet50", "resnet50-int8")
    top = [answers(folder / name, photos[100:]) for name in names]
    one, many = (compare([folder / name for name in names], runtime=Runtime(batch_size=size)) for size in (1, 32))
    table = Table("", "size MB", "top-1 as fp32", "ms, batch 1", "images/s, batch 32", "speedup, batch 32")
    for index, name in enumerate(names):
        alone, batch = one.measurements[index], many.measurements[index]
        table.add_row(
            name,
            f"{batch.size_mb:.1f}",
            f"{(top[index] == top[0]).mean():.1%}",
            f"{alone.timing.median_ms:.1f}",
            f"{batch.images_per_second:.0f}",
            str(batch.speedup),
        )
    console.print(table)


def resnet50_model() -> keras.Model:
    """With its trained weights where Keras can fetch them; seeded otherwise, batch norms set from the photographs."""
    socket.setdefaulttimeout(20)
    try:
        model = keras.applications.ResNet50(weights="imagenet")
    except Exception as error:  # Keras raises a plain Exception when it cannot fetch
        console.print(f"  trained weights cannot be had ({type(error).__name__}); using seeded ones")
        keras.utils.set_random_seed(0)
        model = keras.applications.ResNet50(weights=None)
        photos = preprocessing("caffe")(sample_photos(32).astype("float32"))
        settle(model, photos[:16], seed=0)
        settle_head(model, photos, seed=0)
    else:
        console.print("  with the trained ImageNet weights")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("build/demo"))
    folder = parser.parse_args().work_dir
    folder.mkdir(parents=True, exist_ok=True)
    digits(folder)
    resnet50(folder)


if __name__ == "__main__":
    main()
