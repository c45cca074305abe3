"""Quantizes a SavedModel with Intel Neural Compressor: python inc_quantize.py MODEL DATA.npz OUTPUT

All settings are its defaults (StaticQuantConfig). Writes one line of JSON: seconds, peak memory in MB and
versions. Runs in the environment of Intel Neural Compressor.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
from neural_compressor.tensorflow import StaticQuantConfig, quantize_model

from eightfold.bench.protocol import peak_memory_mb


class Loader:
    """Single images without labels, in the form that Intel Neural Compressor asks for."""

    batch_size = 1

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __iter__(self) -> Iterator[tuple[np.ndarray, None]]:
        for i in range(len(self.images)):
            yield self.images[i : i + 1], None


def main(model: str, data: str, output: str) -> None:
    with np.load(data) as arrays:
        images = arrays["x"]
    start = time.perf_counter()
    quantized = quantize_model(model, StaticQuantConfig(), Loader(images), calib_iteration=len(images))
    quantized.save(output)
    seconds = time.perf_counter() - start
    versions = {name: version(name) for name in ("neural-compressor-tf", "tensorflow-cpu")}
    print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_mb(), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
