"""Writes CIFAR-10 pictures as JPEG files in class folders: python benchmarks/cifar_files.py cifar.npz build/cifar

    --classes automobile,bird,ship --count 1500 --width 640 --height 480
    --classes animal=cat+horse,vehicle=automobile+ship --count 2400 --width 32 --height 32

A class may be made of several. The pictures are enlarged: what a network can learn is that of CIFAR-10, what it costs
to read them that of photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["parts_of", "write"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="with x_train, y_train, x_test, y_test and classes")
    parser.add_argument("output", type=Path)
    parser.add_argument("--classes", default="automobile,bird,ship")
    parser.add_argument("--count", type=int, default=1500, help="of all classes together")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    write(options.source, options.output, parts_of(options.classes), options.count, (options.width, options.height))


def parts_of(text: str) -> dict[str, list[str]]:
    """For each folder the classes of CIFAR-10 that it is made of, from `cat,vehicle=ship+truck`."""
    pairs = (part.partition("=") for part in text.split(","))
    return {name: (parts or name).split("+") for name, _, parts in pairs}


def write(source: Path, output: Path, parts: Mapping[str, Sequence[str]], count: int, size: tuple[int, int]) -> None:
    """Writes the first pictures of each class, as many for each folder; those of the test set come last.

    Args:
        source: an .npz file with the pictures [n, 32, 32, 3], uint8, their class numbers, and the names of the classes.
        output: gets a folder for each name in `parts`.
        parts: see `parts_of`.
        count: pictures of all folders together, at most.
        size: width and height of the files.

    Raises:
        SystemExit: CIFAR-10 has no such class.
    """
    with np.load(source) as arrays:
        known = [str(name) for name in arrays["classes"]]
        pixels, labels = (np.concatenate([arrays[f"{of}_train"], arrays[f"{of}_test"]]) for of in "xy")
    wanted = [one for those in parts.values() for one in those]
    if unknown := sorted(set(wanted) - set(known)):
        raise SystemExit(f"unknown class {unknown[0]}; expected some of {', '.join(known)}")
    for name, those in parts.items():
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        each = count // len(parts) // len(those)
        for row in np.concatenate([np.flatnonzero(labels == known.index(one))[:each] for one in those]):
            picture = Image.fromarray(pixels[row]).resize(size, Image.Resampling.BICUBIC)
            picture.save(folder / f"{row:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
