"""Quantizes a SavedModel with eightfold, as the peers' scripts do: MODEL DATA.npz OUTPUT [BANDS]

All settings are the defaults, but for the bands that each picture is computed in. Writes one line of JSON: seconds,
peak memory in MB and versions.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np

from eightfold.bench.protocol import peak_memory_mb


def main(model: str, data: str, output: str, bands: str = "1") -> None:
    with np.load(data) as arrays:
        images = arrays["x"]
    start = time.perf_counter()
    import eightfold

    eightfold.quantize(model, images, recipe=eightfold.Recipe(bands=int(bands))).save(output)
    seconds = time.perf_counter() - start
    versions = {name: version(name) for name in ("eightfold", "tensorflow-cpu")}
    print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_mb(), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
