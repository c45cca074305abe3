"""How a result is put on disk: beside its place, and renamed when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eightfold.errors import OutputError

__all__ = ["written_beside"]


@contextmanager
def written_beside(target: Path, overwrite: bool) -> Iterator[Path]:
    """A place next to the target to write to; it takes the target's place when the block ends well.

    Raises:
        OutputError: the target is there and must not be replaced, a file would replace a folder, or the target's
            folder cannot be written to.
    """
    if target.exists() and not overwrite:
        raise OutputError(f"{target} is there already; choose another place or allow overwriting (--overwrite)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write to {target.parent}: {error.strerror}") from error
    try:
        place = room / "new"
        yield place
        if target.is_dir() and not place.is_dir():  # all that is in it would be gone
            raise OutputError(f"{target} is a folder; expected the name of a file")
        _swap(place, target, room / "old")
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Puts the new in the target's place; the old returns to it should that fail or be interrupted."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
