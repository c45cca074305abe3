"""Runs an OpenVINO model over pictures: python openvino_predict.py MODEL DATA.npz SCORES.npy

Reads `x`, writes the first output of every picture. Runs in OpenVINO's own environment.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import openvino as ov


def main(model: str, data: str, output: str) -> None:
    with np.load(data) as arrays:
        images = arrays["x"]
    compiled = ov.Core().compile_model(f"{model}/model.xml", "CPU")
    parts = [compiled(images[i : i + 100])[0] for i in range(0, len(images), 100)]
    np.save(output, np.concatenate(parts))
    print(json.dumps({"versions": {"openvino": ov.__version__}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
