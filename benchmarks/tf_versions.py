"""Runs quantized models on the oldest, a middle and the newest TensorFlow: python benchmarks/tf_versions.py

Four small nets are quantized here. Each saved model then runs in a process of its own on each TensorFlow, in
an environment that knows nothing of eightfold, and its outputs are compared with those of the newest: 8-bit
kernels that agree differ by no more than the last bits of the float ops around them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from report import table

from eightfold.bench.peers.environment import Environment

VERSIONS = ("2.16.2", "2.19.1", "2.21.0")
PYTHONS = ((3, 11), (3, 12))
TOLERANCE = 1e-4
"""Relative to the largest output."""

RUN = """
import sys
import numpy as np, tensorflow as tf
assert "eightfold" not in sys.modules
for folder in sys.argv[2:]:
    call = tf.saved_model.load(folder).signatures["serving_default"]
    with np.load(f"{folder}/../input.npz") as data:
        outputs = call(**{name: tf.constant(data[name]) for name in data.files})
    np.savez(f"{folder}/../{sys.argv[1]}.npz", **{name: value.numpy() for name, value in outputs.items()})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS, help=f"{', '.join(VERSIONS)} by default")
    parser.add_argument("--work-dir", type=Path, default=Path("build/tf-versions"))
    options = parser.parse_args()
    folders = [quantized(name, build, options.work_dir) for name, build in NETS.items()]
    for version in options.versions:
        run(version, folders, options.work_dir)
    rows, failed = compared(folders, options.versions)
    print(table(("net", "8-bit ops", *(f"TF {version}" for version in options.versions)), rows))
    if failed:
        raise SystemExit(f"these differ by more than {TOLERANCE}: {', '.join(failed)}")


def run(version: str, folders: list[Path], work: Path) -> None:
    """Every saved model on one TensorFlow."""
    environment = Environment(f"tensorflow-{version}", (f"tensorflow-cpu=={version}",), pythons=PYTHONS)
    models = [str(folder / "int8") for folder in folders]
    command = [environment.python(work / "venv"), "-c", RUN, version, *models]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"TensorFlow {version} does not run the models:\n{finished.stderr[-3000:]}")


def compared(folders: list[Path], versions: tuple[str, ...]) -> tuple[list[tuple[str, ...]], list[str]]:
    """A row for each net: the largest difference of each version from the last, relative to the largest output."""
    rows, failed = [], []
    for folder in folders:
        outputs = {version: dict(np.load(folder / f"{version}.npz")) for version in versions}
        expected = outputs[versions[-1]]
        cells = []
        for version in versions:
            difference = max(relative(expected[name], outputs[version][name]) for name in expected)
            cells.append(f"{difference:.1e}")
            if not difference <= TOLERANCE:
                failed.append(f"{folder.name} on {version}")
        rows.append((folder.name, (folder / "ops.txt").read_text(), *cells))
    return rows, failed


def relative(expected: Any, actual: Any) -> float:
    return float(np.abs(expected - actual).max() / np.abs(expected).max())


def quantized(name: str, build: Callable[[Any], Any], work: Path) -> Path:
    """A net with seeded weights, quantized, with the input that every TensorFlow gets."""
    import keras

    import eightfold as ef

    keras.utils.set_random_seed(0)
    model = build(keras.layers)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.set_weights([np.random.uniform(low, 1.5, size) for low in (0.5, -0.5, -0.5, 0.5)])
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    x = np.random.uniform(-1, 1, (64, *model.input_shape[1:])).astype(np.float32)
    result = ef.quantize(model, x, recipe=ef.Recipe(fallback=False))
    result.save(folder / "int8", overwrite=True)
    np.savez(folder / "input.npz", **{next(iter(result.model.default.inputs)): x[:8]})
    (folder / "ops.txt").write_text(str(len(result.report.steps)))
    return folder


def digits(layers: Any) -> Any:
    """The small CNN of `make demo`."""
    return _model(
        (8, 8, 1),
        lambda x: layers.Dense(10)(
            layers.GlobalAveragePooling2D()(
                layers.Conv2D(64, 3, activation="relu")(
                    layers.MaxPooling2D()(_block(layers, x, 32)),
                )
            )
        ),
    )


def residual(layers: Any) -> Any:
    """A stem and two residual blocks, one of them with a projection; the sums go through a Relu."""

    def body(x: Any) -> Any:
        x = _block(layers, x, 16)
        for filters, strides in ((16, 1), (32, 2)):
            y = _block(layers, x, filters, strides=strides)
            y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
            if strides > 1:
                x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides=strides)(x))
            x = layers.ReLU()(layers.add([x, y]))
        return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))

    return _model((32, 32, 3), body)


def mobile(layers: Any) -> Any:
    """Two inverted residuals as in MobileNetV2: depthwise, Relu6, a linear sum."""

    def body(x: Any) -> Any:
        x = layers.ReLU(6.0)(_normed(layers, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False), x))
        for _ in range(2):
            y = layers.ReLU(6.0)(_normed(layers, layers.Conv2D(64, 1, use_bias=False), x))
            y = layers.ReLU(6.0)(_normed(layers, layers.DepthwiseConv2D(3, padding="same", use_bias=False), y))
            x = layers.add([x, _normed(layers, layers.Conv2D(16, 1, use_bias=False), y)])
        return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))

    return _model((32, 32, 3), body)


def mlp(layers: Any) -> Any:
    """Two hidden layers."""
    return _model(
        (64,),
        lambda x: layers.Dense(10)(layers.Dense(64, activation="relu")(layers.Dense(128, activation="relu")(x))),
    )


def _model(shape: tuple[int, ...], body: Callable[[Any], Any]) -> Any:
    import keras

    x = keras.Input(shape, name="x")
    return keras.Model(x, body(x))


def _block(layers: Any, x: Any, filters: int, strides: int = 1) -> Any:
    convolution = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)
    return layers.ReLU()(_normed(layers, convolution, x))


def _normed(layers: Any, layer: Any, x: Any) -> Any:
    return layers.BatchNormalization()(layer(x))


NETS = {"digits": digits, "residual": residual, "mobile": mobile, "mlp": mlp}

if __name__ == "__main__":
    sys.exit(main())
