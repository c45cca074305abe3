"""The log of a search as JSON lines: a heading that says what is searched, then an entry for each result.

{"kind": "search", "format": 1, "model": "9f3c...", ...}
{"kind": "trial", ...}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eightfold.errors import DataError, OutputError

__all__ = ["Journal"]

_FORMAT = 1


class Journal:
    """A file that is begun with the first entry and can be continued after a kill.

    Args:
        path: of the file; `None` writes nothing.
        about: the heading; its `model`, a digest of all that the entries depend on, must be that of a file that is
            continued, `origin` is how people call it.
        resume: whether to go on with what is in the file; else, or where not even the heading is whole, it starts anew.

    Attributes:
        entries: what was in the file.

    Raises:
        DataError: the file is of another model, or is damaged.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any], *, resume: bool = False) -> None:
        self._path = path
        self._heading: Mapping[str, Any] | None = {"kind": "search", "format": _FORMAT, **about}
        self.entries: list[dict[str, Any]] = []
        if path is not None and resume and path.is_file() and _has_whole_line(path):
            self.entries = _continued(path, about["model"])
            self._heading = None  # the file has it

    def write(self, entry: Mapping[str, Any]) -> None:
        """Writes an entry down at once.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is None:
            return
        lines, mode = [entry], "a"
        if self._heading is not None:
            lines, mode, self._heading = [self._heading, entry], "w", None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(_finite(line), allow_nan=False) + "\n" for line in lines)
        except OSError as error:
            raise OutputError(f"the trials cannot be written to {self._path}: {error.strerror}") from error


def _has_whole_line(path: Path) -> bool:
    return b"\n" in path.read_bytes()


def _continued(path: Path, model: str) -> list[dict[str, Any]]:
    """The entries of a file after its heading.

    Raises:
        DataError: see `Journal`.
    """
    try:
        about, *entries = _lines(path)
        if about["format"] != _FORMAT:
            raise DataError(f"{path} has format {about['format']}, expected {_FORMAT}: another eightfold wrote it")
        if about["model"] != model:
            raise DataError(
                f"{path} is the log of another model ({about.get('origin', about['model'])}); "
                "search without --resume to start anew, or name another output"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no log of a search, or is damaged: {type(error).__name__}: {error}") from error
    return entries


def _finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Infinities, which JSON does not have, as null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file. One that was cut off in the middle of writing is taken off it."""
    text = path.read_text(encoding="utf-8")
    whole, newline, rest = text.rpartition("\n")
    if rest:
        path.write_text(whole + newline, encoding="utf-8")
    return (json.loads(line) for line in whole.splitlines())
