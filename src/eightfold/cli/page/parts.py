"""What pages are made of: files of this package, and how a page is put on disk."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from eightfold.errors import OutputError

__all__ = ["part", "script", "written"]

_FOLDER = files("eightfold.cli.page")


def part(name: str) -> str:
    """A file of this package as text."""
    return _FOLDER.joinpath(name).read_text(encoding="utf-8")


def script(name: str) -> str:
    """A script as an element, without the comment by which a browser's tools would look for another file."""
    lines = (line for line in part(name).splitlines() if not line.startswith("//# sourceMappingURL"))
    return "<script>{}</script>".format("\n".join(lines))


def written(text: str, file: Path) -> None:
    """Writes a page; an older file is replaced at once or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise OutputError(f"the page cannot be written to {file}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
