"""Quantizes a SavedModel with NNCF for OpenVINO: python openvino_quantize.py MODEL DATA.npz OUTPUT

Writes one line of JSON: seconds, peak memory in MB and versions. Runs in OpenVINO's own environment.
"""

from __future__ import annotations

import json
import sys
import time

import nncf
import numpy as np
import openvino as ov

from eightfold.bench.protocol import peak_memory_mb


def main(model: str, data: str, output: str) -> None:
    with np.load(data) as arrays:
        images = arrays["x"]
    start = time.perf_counter()
    floats = ov.convert_model(model)
    samples = nncf.Dataset([images[i : i + 1] for i in range(len(images))])
    quantized = nncf.quantize(floats, samples, subset_size=len(images))
    ov.save_model(quantized, f"{output}/model.xml")
    seconds = time.perf_counter() - start
    versions = {"openvino": ov.__version__, "nncf": nncf.__version__}
    print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_mb(), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
