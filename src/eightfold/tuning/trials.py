"""The log of a search: one JSON line for each turn, from which a search goes on.

{"kind": "search", "format": 1, "model": "9f3c...", "origin": "resnet50-int8/", ...}
{"kind": "turn", "round": 0, "variant": "int8", "settings": {"intra": 1, ...}, "sample": {"p50_ms": 6.9, ...}}
{"kind": "turn", "round": 0, "variant": "int8", "settings": {"intra": 2, ...}, "failure": "the worker of ..."}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eightfold.bench.journal import Journal
from eightfold.errors import DataError, ModelError
from eightfold.running.settings import Runtime
from eightfold.tuning.candidate import Candidate, Failure, Measure, Outcome, Sample

__all__ = ["Logged"]


class Logged:
    """Turns that are written down. A search that is the same asks for the same turns: those in the log are not
    measured again.

    Args:
        measure: gives the other turns.
        journal: the log.
        path: of the log, for messages.

    Raises:
        DataError: the log is damaged.
    """

    def __init__(self, measure: Measure, journal: Journal, path: Path | None = None) -> None:
        self._measure, self._journal, self._rounds = measure, journal, 0
        try:
            self._known = dict(_read(entry) for entry in journal.entries if entry["kind"] == "turn")
        except (ModelError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no log of a search, or is damaged: {type(error).__name__}: {error}") from error

    def __call__(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        """A turn for each candidate."""
        number, self._rounds = self._rounds, self._rounds + 1
        for one in candidates:
            if (number, one.key) in self._known:
                yield one, self._known[number, one.key]
        for one, outcome in self._measure([one for one in candidates if (number, one.key) not in self._known]):
            self._journal.write(_entry(number, one, outcome))
            yield one, outcome


def _entry(number: int, one: Candidate, outcome: Outcome) -> dict[str, Any]:
    about = {"kind": "turn", "round": number, "variant": one.variant, "settings": one.runtime.to_json()}
    if isinstance(outcome, Failure):
        return {**about, "failure": outcome.reason}
    return {**about, "sample": asdict(outcome)}


def _read(entry: dict[str, Any]) -> tuple[tuple[int, str], Outcome]:
    one = Candidate(entry["variant"], Runtime.from_json(entry["settings"]))
    outcome = Failure(entry["failure"]) if "failure" in entry else Sample(**entry["sample"])
    return (entry["round"], one.key), outcome
