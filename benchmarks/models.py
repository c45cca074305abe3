"""The networks of keras.applications as if trained: seeded weights, batch norms that fit what they are fed.

    python benchmarks/models.py resnet50 build/bench/resnet50

Freshly made networks mislead benchmarks of quantization: with zero shifts, converters drop additions that
trained networks have; with statistics of (0, 1) that match nothing, activations grow or die over the layers.
Here each batch norm gets the mean and variance of its real input on photographs, off by a little as running
averages are, and scales and shifts of the size that training leaves behind. So activations keep unit scale.
Random kernels are also chaotic: they amplify the noise of quantization from layer to layer, until the outputs
of a deep network have little to do with its input. Trained kernels look where their input varies, and so do
these.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.named import Architecture, architectures, build
from eightfold.data import PREPROCESSING, sample_photos

__all__ = ["ARCHITECTURES", "export", "images", "settle", "settle_head"]

Images = npt.NDArray[np.float32]


NAMES = ("resnet50", "resnet101", "inceptionv3", "mobilenet", "mobilenetv2")
ARCHITECTURES = {name: architectures()[name] for name in NAMES}


def images(architecture: Architecture, count: int, photos: Path | None = None) -> Images:
    """Photographs as the network takes them, float32 [count, side, side, 3].

    Args:
        architecture: whose side and preprocessing to use.
        count: how many; the photographs of a folder are repeated as needed.
        photos: a folder of `.jpg` and `.png` files; by default parts of the two that scikit-learn ships.
    """
    side = architecture.side
    pixels = sample_photos(count, side) if photos is None else _folder(photos, count, side)
    return PREPROCESSING[architecture.preprocess](pixels.astype(np.float32))


def _folder(folder: Path, count: int, side: int) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise SystemExit(f"{folder} holds no .jpg or .png file")
    fitted = (ImageOps.fit(Image.open(path).convert("RGB"), (side, side)) for path in paths[:count])
    return np.resize(np.stack([np.asarray(picture) for picture in fitted]), (count, side, side, 3))


def export(architecture: Architecture, output: Path, photos: Path | None = None, seed: int = 0) -> None:
    """Writes the network twice: `saved_model/` as Keras 3 exports it, and `frozen.pb` with its variables as
    constants, which TensorFlow itself runs faster (it can then fold batch norms into convolutions)."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = build(architecture)
    x = images(architecture, 100, photos)
    settle(model, x[:16], seed)
    settle_head(model, x, seed)
    model.export(output / "saved_model", verbose=False)
    loaded = tf.saved_model.load(os.fspath(output / "saved_model"))
    frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    (output / "frozen.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())


def settle(model: Any, x: Images, seed: int) -> None:
    """Runs the images through a functional model layer by layer, fitting its weights to what reaches them.

    Kernels of convolutions are turned a little towards the directions in which their input varies. Scales are
    drawn from U(0.5, 1.5) and shifts from N(0, 0.2); moving means are off by 0.05 standard deviations and
    moving variances by 10 %, as running averages are.
    """
    import keras

    rng = np.random.default_rng(seed)
    known: dict[int, Any] = {id(model.inputs[0]): keras.ops.convert_to_tensor(x)}
    for layer in model.layers[1:]:
        given = layer.input
        reached = [known[id(one)] for one in given] if isinstance(given, list) else known[id(given)]
        if isinstance(layer, keras.layers.BatchNormalization):
            _settle_batch_norm(layer, np.asarray(reached), rng)
        elif type(layer) is keras.layers.Conv2D:
            _settle_kernel(layer, np.asarray(reached), rng)
        known[id(layer.output)] = layer(reached)


def _settle_kernel(layer: Any, x: npt.NDArray[Any], rng: np.random.Generator, power: float = 0.1) -> None:
    """Multiplies the kernel by a power of the covariance of its input's channels."""
    pixels = x.reshape(-1, x.shape[-1])
    chosen = rng.choice(len(pixels), min(len(pixels), 4096), replace=False)
    values, vectors = np.linalg.eigh(np.cov(pixels[chosen], rowvar=False))
    values = np.maximum(values, 1e-6 * values.max())
    turn = (vectors * (values / values.mean()) ** power) @ vectors.T
    layer.kernel.assign(np.einsum("ij,hwjo->hwio", turn, np.asarray(layer.kernel)))


def _settle_batch_norm(layer: Any, x: npt.NDArray[Any], rng: np.random.Generator) -> None:
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
    channels = x.shape[-1]
    layer.moving_mean.assign(mean + rng.normal(0, 0.05, channels) * np.sqrt(variance))
    layer.moving_variance.assign(variance * np.exp(rng.normal(0, 0.1, channels)))
    if layer.scale:
        layer.gamma.assign(rng.uniform(0.5, 1.5, channels))
    if layer.center:
        layer.beta.assign(rng.normal(0, 0.2, channels))


def settle_head(model: Any, x: Images, seed: int, directions: int = 8) -> None:
    """Lets the last layer tell the images apart as a trained one does: by what differs most between them.

    Each class is a random mixture of the first principal components of the features. Logits get mean 0 and
    standard deviation 3 over the images.
    """
    import keras

    head = next(layer for layer in reversed(model.layers) if layer.weights)
    features = keras.Model(model.inputs, head.input).predict(x, batch_size=10, verbose=0)
    features = features.reshape(len(features), -1)
    mean = features.mean(axis=0)
    _, _, components = np.linalg.svd(features - mean, full_matrices=False)
    mixture = np.random.default_rng(seed).normal(size=(directions, head.bias.shape[0]))
    kernel = components[:directions].T @ mixture
    kernel *= 3 / ((features - mean) @ kernel).std()
    head.kernel.assign(kernel.reshape(head.kernel.shape))
    head.bias.assign(-mean @ kernel)


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a network with seeded weights.")
    parser.add_argument("name", choices=ARCHITECTURES)
    parser.add_argument("output", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of photographs; scikit-learn's by default")
    options = parser.parse_args()
    export(ARCHITECTURES[options.name], options.output, options.photos)


if __name__ == "__main__":
    main()
