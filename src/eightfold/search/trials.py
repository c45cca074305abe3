"""The log of a search: one JSON line for each trial, so that it can be continued and read by others.

{"kind": "search", "format": 1, "model": "9f3c...", "recipe": "observer = ...", ...}
{"kind": "trial", "key": "5a01...", "changes": {"observer": "mse"}, "fp32": ["conv1"], "value": 0.91, ...}
{"kind": "ranking", "key": "77b2...", "entries": [{"name": "conv1", "only_db": 12.1, ...}]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eightfold.bench.journal import Journal
from eightfold.errors import DataError
from eightfold.quantization.search_record import Sensitivity, Trial

__all__ = ["TrialLog"]


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
        self._journal = Journal(path, about, resume=resume)
        self._trials: dict[str, Trial] = {}
        self._rankings: dict[str, tuple[Sensitivity, ...]] = {}
        try:
            for entry in self._journal.entries:
                self._take(entry)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no log of a search, or is damaged: {type(error).__name__}: {error}") from error

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
        self._journal.write({"kind": "trial", **asdict(trial)})

    def add_ranking(self, key: str, entries: Sequence[Sensitivity]) -> None:
        """Takes in a ranking and writes it down at once.

        Raises:
            OutputError: the file cannot be written.
        """
        self._rankings[key] = tuple(entries)
        self._journal.write({"kind": "ranking", "key": key, "entries": [asdict(entry) for entry in entries]})

    def _take(self, entry: dict[str, Any]) -> None:
        kind = entry.pop("kind")
        if kind == "trial":
            self._trials[entry["key"]] = Trial.from_dict(entry)
        elif kind == "ranking":
            self._rankings[entry["key"]] = tuple(Sensitivity(**each) for each in entry["entries"])
