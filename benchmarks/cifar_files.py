"""Writes CIFAR-10 pictures as large JPEG files in class folders: python benchmarks/cifar_files.py cifar.npz build/cifar

    --classes automobile,bird,ship --count 1500 --width 640 --height 480

The pictures are enlarged: what a network can learn is that of CIFAR-10, what it costs to read them that of photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="with x_train, y_train and classes")
    parser.add_argument("output", type=Path)
    parser.add_argument("--classes", default="automobile,bird,ship")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    names = options.classes.split(",")
    with np.load(options.source) as arrays:
        known = [str(name) for name in arrays["classes"]]
        pixels, labels = arrays["x_train"], arrays["y_train"]
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown class {unknown[0]}; expected some of {', '.join(known)}")
    for name in names:
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.flatnonzero(labels == known.index(name))[: options.count // len(names)]
        for row in rows:
            picture = Image.fromarray(pixels[row]).resize((options.width, options.height), Image.Resampling.BICUBIC)
            picture.save(folder / f"{row:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
