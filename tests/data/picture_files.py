"""Writes folders of pictures as users have them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from eightfold.graph.ir import Array


def pixels(seed: int, height: int = 30, width: int = 40, channels: int = 3) -> Array:
    """A smooth random picture, uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), np.uint8)
    picture = Image.fromarray(coarse[..., 0] if channels == 1 else coarse)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)


def encoded(array: Array, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, content: bytes | Array, kind: str = "png") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else encoded(content, kind))
    return path


def class_folders(root: Path, counts: dict[str, int], size: tuple[int, int] = (30, 40)) -> Path:
    """PNG and JPEG files in turns."""
    for seed, (name, count) in enumerate(counts.items()):
        for at in range(count):
            kind = "png" if at % 2 else "jpeg"
            write(root / name / f"{at:03}.{kind}", pixels(100 * seed + at, *size), kind)
    return root
