"""Decoded pictures in a file that the next run, and other processes at the same time, use as it is.

NAME.npy     the pixels, uint8 [rows and some that are left over, stored, stored, channels]
NAME.json    their labels and names, what was skipped, and how long the first file is
NAME.lock    held by the process that makes them

Both are written under other names and take their own when they are whole, the second one last: it says that the first
one is finished. NAME is a digest of what the pixels were made from, and how.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.decoding import Decoded, Misnamed, Skipped
from eightfold.data.mapped import mapped_npy
from eightfold.errors import OutputError
from eightfold.graph.ir import Array

__all__ = ["PixelFile", "digest"]

FORMAT = 1
"""Changes with what is in the files, so that those of other versions are not taken for it."""


@dataclass(frozen=True, slots=True)
class PixelFile:
    """The file of one digest.

    Attributes:
        folder: may not exist yet.
        name: the digest.
    """

    folder: Path
    name: str

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.name}.npy"

    @property
    def about(self) -> Path:
        return self.folder / f"{self.name}.json"

    def finished(self) -> bool:
        """Whether it is there, whole."""
        if not (self.about.is_file() and self.pixels.is_file()):
            return False
        expected = json.loads(self.about.read_text())["bytes"]
        return bool(self.pixels.stat().st_size == expected)

    def read(self) -> tuple[Array, Decoded]:
        """The pixels, mapped, and what is known of them.

        Raises:
            DataError: the file cannot be read.
        """
        about = json.loads(self.about.read_text())
        decoded = Decoded(
            tuple(about["labels"]),
            tuple(about["names"]),
            tuple(Skipped(*each) for each in about["skipped"]),
            tuple(Misnamed(*each) for each in about["misnamed"]),
        )
        return mapped_npy(self.pixels)[: len(decoded.names)], decoded

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process at a time; the others wait.

        Raises:
            OutputError: the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / f"{self.name}.lock").open("w")
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written to: {error.strerror}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def room(self, shape: tuple[int, ...]) -> Iterator[Array]:
        """An array to be filled, within `alone`; what another process left unfinished is overwritten.

        Raises:
            OutputError: there is no room for it.
        """
        unfinished = self._unfinished(self.pixels)
        try:
            array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
            with unfinished.open("r+b") as file:  # a full disk is an error here, and would end the process later
                os.posix_fallocate(file.fileno(), 0, unfinished.stat().st_size)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise OutputError(f"{unfinished} cannot be written: {error.strerror}") from error
        try:
            yield array
        except BaseException:  # it would take room until somebody asks for the same pictures again
            unfinished.unlink(missing_ok=True)
            raise

    def finish(self, array: Array, decoded: Decoded) -> None:
        """Gives both files their names.

        Raises:
            OutputError: they cannot be written.
        """
        unfinished, about = self._unfinished(self.pixels), self._unfinished(self.about)
        facts = {
            "bytes": unfinished.stat().st_size,
            "labels": decoded.labels,
            "names": decoded.names,
            "skipped": [[each.name, each.reason, each.label] for each in decoded.skipped],
            "misnamed": [[each.name, each.kind] for each in decoded.misnamed],
        }
        try:
            if isinstance(array, np.memmap):
                array.flush()
            with about.open("w") as file:
                json.dump(facts, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.pixels)
            about.replace(self.about)
        except OSError as error:
            raise OutputError(f"{self.pixels} cannot be written: {error.strerror}") from error

    def _unfinished(self, path: Path) -> Path:
        return path.with_name(f".{path.name}-unfinished")


def digest(*facts: Any) -> str:
    """A name for what is made from these facts."""
    return hashlib.blake2b(repr((FORMAT, facts)).encode(), digest_size=16).hexdigest()
