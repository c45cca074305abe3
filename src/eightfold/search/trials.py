"""The log of a search: one JSON line for each trial, so that it can be continued and read by others.

{"kind": "search", "format": 1, "model": "9f3c...", "recipe": "observer = ...", ...}
{"kind": "trial", "key": "5a01...", "changes": {"observer": "mse"}, "fp32": ["conv1"], "value": 0.91, ...}
{"kind": "ranking", "key": "77b2...", "entries": [{"name": "conv1", "only_db": 12.1, ...}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eightfold.errors import DataError, OutputError
from eightfold.quantization.search_record import Sensitivity, Trial

__all__ = ["TrialLog"]

_FORMAT = 1


class TrialLog:
    """Trials by key, in memory and, with a path, in a file, which is begun with the first of them.

    Args:
        path: of the file; `None` keeps the trials in memory only.
        about: what the search is of; `model`, its digest, must be that of a log that is continued.
        resume: whether to go on with what is in the file; else it starts anew.

    Raises:
        DataError: the log is of another model, or is damaged.
    """

    def __init__(self, path: Path | None, about: Mapping[str, str], *, resume: bool = False) -> None:
        self._path = path
        self._about: Mapping[str, str] | None = about
        self._trials: dict[str, Trial] = {}
        self._rankings: dict[str, tuple[Sensitivity, ...]] = {}
        if path is not None and resume and path.is_file():
            self._read(path, about["model"])
            self._about = None  # the file has it

    def trial(self, key: str) -> Trial | None:
        """The trial of that key, if it has been measured before."""
        return self._trials.get(key)

    def ranking(self, key: str) -> tuple[Sensitivity, ...] | None:
        """The ranking of that key, if it has been measured before."""
        return self._rankings.get(key)

    def add(self, trial: Trial) -> None:
        """Takes in a trial and writes it down at once.

        Raises:
            OutputError: the file cannot be written.
        """
        self._trials[trial.key] = trial
        self._write({"kind": "trial", **asdict(trial)})

    def add_ranking(self, key: str, entries: Sequence[Sensitivity]) -> None:
        """Takes in a ranking and writes it down at once.

        Raises:
            OutputError: the file cannot be written.
        """
        self._rankings[key] = tuple(entries)
        self._write({"kind": "ranking", "key": key, "entries": [asdict(entry) for entry in entries]})

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        entries, mode = [entry], "a"
        if self._about is not None:
            entries, mode = [{"kind": "search", "format": _FORMAT, **self._about}, entry], "w"
            self._about = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(_finite(each), allow_nan=False) + "\n" for each in entries)
        except OSError as error:
            raise OutputError(f"the trials cannot be written to {self._path}: {error.strerror}") from error

    def _read(self, path: Path, model: str) -> None:
        try:
            entries = list(_entries(path))
            about = entries[0]
            if about["format"] != _FORMAT:
                raise DataError(f"{path} has format {about['format']}, expected {_FORMAT}: another eightfold wrote it")
            if about["model"] != model:
                raise DataError(
                    f"{path} is the log of another model ({about.get('origin', about['model'])}); "
                    "search without --resume to start anew, or name another output"
                )
            for entry in entries[1:]:
                self._take(entry)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(f"{path} is no log of a search, or is damaged: {type(error).__name__}: {error}") from error

    def _take(self, entry: dict[str, Any]) -> None:
        kind = entry.pop("kind")
        if kind == "trial":
            self._trials[entry["key"]] = Trial.from_dict(entry)
        elif kind == "ranking":
            self._rankings[entry["key"]] = tuple(Sensitivity(**each) for each in entry["entries"])


def _finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Infinities, which JSON does not have, as null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log. One that was cut off in the middle of writing is taken off the file."""
    text = path.read_text(encoding="utf-8")
    whole, newline, rest = text.rpartition("\n")
    if rest:
        path.write_text(whole + newline, encoding="utf-8")
    return (json.loads(line) for line in whole.splitlines())
