"""What is made once and kept for the next time: networks, environments and converted models."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eightfold.errors import OutputError

__all__ = ["cache", "locked"]


def cache(kind: str) -> Path:
    """The folder of this user for one kind of things; it can be deleted at any time.

    `eightfold/KIND` in XDG_CACHE_HOME, by default in `~/.cache`. Reference: XDG Base Directory Specification 0.8; a
    relative path there does not count.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".cache") / "eightfold" / kind


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time makes what the folder will hold; the others wait.

    Raises:
        OutputError: the place of the folder cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = (folder.parent / f".{folder.name}.lock").open("w")
    except OSError as error:
        raise OutputError(
            f"{folder.parent} cannot be written to: {error.strerror}; set XDG_CACHE_HOME to a folder that can"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
