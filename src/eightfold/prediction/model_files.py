"""A model as files that workers load, and what tells whether they are the same."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any

__all__ = ["as_file", "digest"]

NOT_THE_MODEL = "assets.extra"
"""Reports and run-time settings: they change no answer by themselves."""
CHUNK = 1 << 20


def as_file(model: Any, folder: Path) -> Path:
    """The path of a model; one that is in memory is written to `folder` first.

    Raises:
        ModelError: it is no model.
    """
    if isinstance(model, str | PathLike):
        return Path(fspath(model)).expanduser().absolute()
    from eightfold.quantization.result import Quantized
    from eightfold.tf.read import read_model
    from eightfold.tf.savedmodel import write_saved_model

    place = folder / "model"
    shutil.rmtree(place, ignore_errors=True)
    write_saved_model(model.model if isinstance(model, Quantized) else read_model(model), place)
    return place


def digest(model: Path) -> str:
    """Of the content of all files of a model, wherever it lies and whatever it is called."""
    found = hashlib.blake2b(digest_size=16)
    for file in _files(model):
        found.update(f"{file.relative_to(model)}\n".encode() if model.is_dir() else b"\n")
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                found.update(chunk)
    return found.hexdigest()


def _files(model: Path) -> Iterator[Path]:
    if model.is_file():
        yield model
    elif model.is_dir():
        yield from sorted(
            p for p in model.rglob("*") if p.is_file() and NOT_THE_MODEL not in p.relative_to(model).parts
        )
    else:  # a checkpoint, named by what its files begin with
        yield from sorted(model.parent.glob(f"{model.name}.*"))
