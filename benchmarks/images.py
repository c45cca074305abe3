"""Writes real JPEG files in class folders, as many as asked for: python benchmarks/images.py build/images --count 20000

Each picture is a part of one of the two photographs that scikit-learn ships, mirrored, turned in hue and changed in
brightness and contrast, all by a seed, so its pixels and the time to decode it are those of a photograph, without a
download. A class is a photograph and a hue: what a network can learn. The same arguments write the same files.
"""

from __future__ import annotations

import argparse
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from eightfold.data import sample_photos

__all__ = ["Collection", "write"]

PARTS = 64
"""How many parts of the two photographs there are to begin with; even ones are of the first, odd ones of the second."""

MARGIN = 1.25
"""How much larger such a part is than a picture, which is then cut out of it."""

PIECE = 500
"""Pictures that a process writes at a time."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What is to be written.

    Attributes:
        count: of pictures in all; classes differ by one at most.
        side: height and width in pixels.
        classes: how many folders.
        quality: of the JPEG files; 85 gives about 0.2 bytes a pixel.
        seed: of all that is drawn at random.
    """

    count: int
    side: int = 256
    classes: int = 10
    quality: int = 85
    seed: int = 0

    def place(self, number: int) -> str:
        """Where a picture is, in the folder of its class: `003/000013.jpg`."""
        return f"{number % self.classes:03}/{number:06}.jpg"


def write(collection: Collection, folder: Path, processes: int | None = None) -> None:
    """Writes the pictures; the folder is there only when all of them are.

    Args:
        collection: what to write.
        folder: where; it must not exist.
        processes: how many work; one for each CPU by default. What is written does not depend on it.

    Raises:
        SystemExit: the folder exists.
    """
    if folder.exists():
        raise SystemExit(f"{folder} is there already; remove it, or name another folder")
    beside = folder.with_name(f".{folder.name}-unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    for number in range(min(collection.classes, collection.count)):
        Path(beside, collection.place(number)).parent.mkdir(parents=True)
    pieces = [range(at, min(at + PIECE, collection.count)) for at in range(0, collection.count, PIECE)]
    with ProcessPoolExecutor(processes or len(os.sched_getaffinity(0))) as pool:
        list(pool.map(partial(_write_piece, collection, beside), pieces))
    beside.rename(folder)


def _write_piece(collection: Collection, folder: Path, numbers: range) -> None:
    parts = _parts(round(collection.side * MARGIN))
    for number in numbers:
        picture = _picture(collection, number, parts)
        picture.save(folder / collection.place(number), quality=collection.quality)


@cache
def _parts(side: int) -> npt.NDArray[np.uint8]:
    return sample_photos(PARTS, side)


def _picture(collection: Collection, number: int, parts: npt.NDArray[np.uint8]) -> Image.Image:
    rng = np.random.default_rng((collection.seed, number))
    label = number % collection.classes
    part = Image.fromarray(parts[2 * int(rng.integers(PARTS // 2)) + label % 2])
    left, top = rng.integers(0, part.width - collection.side, size=2, endpoint=True).tolist()
    picture = part.crop((left, top, left + collection.side, top + collection.side))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = _turned(picture, (label // 2) / -(-collection.classes // 2) + rng.normal(0, 0.01))
    brightness, contrast = rng.uniform(0.8, 1.2, size=2).tolist()
    return ImageEnhance.Contrast(ImageEnhance.Brightness(turned).enhance(brightness)).enhance(contrast)


def _turned(picture: Image.Image, turn: float) -> Image.Image:
    """The picture with its hues moved on by a share of the circle of colours."""
    hue, saturation, value = picture.convert("HSV").split()
    moved = hue.point([(tone + round(256 * turn)) % 256 for tone in range(256)])
    return Image.merge("HSV", (moved, saturation, value)).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--quality", type=int, default=85, help="of the JPEG files, 1 to 95")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, help="one for each CPU by default")
    options = parser.parse_args()
    if min(options.count, options.side, options.classes) < 1:
        parser.error("--count, --side and --classes must be 1 or more")
    collection = Collection(options.count, options.side, options.classes, options.quality, options.seed)
    write(collection, options.folder, options.processes)


if __name__ == "__main__":
    main()
