"""Quantizes a SavedModel with eightfold, as the peers' scripts do: MODEL DATA.npz OUTPUT

All settings are the defaults. Writes one line of JSON: seconds, peak memory in MB and versions.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np

from eightfold.bench.protocol import peak_memory_mb


def main(model: str, data: str, output: str) -> None:
    with np.load(data) as arrays:
        images = arrays["x"]
    start = time.perf_counter()
    import eightfold

    eightfold.quantize(model, images).save(output)
    seconds = time.perf_counter() - start
    versions = {name: version(name) for name in ("eightfold", "tensorflow-cpu")}
    print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_mb(), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
