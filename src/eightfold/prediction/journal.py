"""The folder OUT.partial beside the output: what was begun, and which of its parts are there.

lock         held while a process works on it
about.json   {"format": 1, "about": what decides the answers, by names for people}
job.json     what the workers are told; it is written last: where it is, something was begun
listing.json which rows there are
rows/        data that workers cannot read by themselves
model/       a model that was in memory
part-000017  the answers of a shard, see `array_file`
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from eightfold.errors import DataError, OutputError
from eightfold.prediction.array_file import UNFINISHED
from eightfold.prediction.job import Job, Shard
from eightfold.prediction.parts import PREFIX, has_part
from eightfold.quantization.folder_lock import FolderLock

__all__ = ["Journal", "folder_of"]

_FORMAT = 1
_LOCK = "lock"


def folder_of(output: Path) -> Path:
    """Where the parts of an unfinished output are."""
    return output.with_name(output.name + ".partial").absolute()


class Journal:
    """The unfinished output. Use it as a context manager: it is locked for as long as the block lasts.

    Raises:
        OutputError: the folder cannot be written to or locked, or another process works on it.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = folder_of(output)
        self._lock = FolderLock(self.folder, _LOCK, f"works on {output}")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.job_file.exists():  # nothing was begun
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    @property
    def job_file(self) -> Path:
        """What the workers read."""
        return self.folder / "job.json"

    def begin(self, about: Mapping[str, Any], job: Job) -> None:
        """Writes down what is begun.

        Args:
            about: everything that decides the answers, by names for people.
            job: what the workers are told.
        """
        self._write("about.json", {"format": _FORMAT, "about": about})
        self._write("job.json", json.loads(job.to_json()))

    def write_listing(self, listing: Mapping[str, Any]) -> Path:
        """Writes down which rows there are; returns the file."""
        return self._write("listing.json", listing)

    def resumed(self, about: Mapping[str, Any]) -> Job | None:
        """The job that was begun, or None where nothing was.

        Raises:
            DataError: it differs from what is wanted now; the message says in what.
        """
        if not self.job_file.exists():
            return None
        before = self._read("about.json")
        if before.get("format") != _FORMAT:
            raise DataError(f"{self.folder} was written by another eightfold; start anew with --overwrite")
        then: Mapping[str, Any] = before["about"]
        differing = [name for name in {**then, **about} if then.get(name) != about.get(name)]
        if differing:
            parts = "; ".join(f"{name}: {then.get(name)} then, {about.get(name)} now" for name in differing)
            raise DataError(
                f"{self.output} was begun as another job, so it cannot be resumed ({parts}); "
                "ask for the same, or start anew with --overwrite"
            )
        return Job.from_json(self.job_file.read_text(encoding="utf-8"))

    def has_parts(self) -> bool:
        """Whether anything would be lost by starting anew."""
        return any(self.folder.glob(f"{PREFIX}*"))

    def missing(self, job: Job) -> list[Shard]:
        """The shards that have no part yet."""
        return [shard for shard in job.shards if not has_part(self.folder, shard)]

    def clear(self) -> None:
        """Removes all that was done, the job first, so that no part is ever taken for one of another job."""
        self.job_file.unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def tidy(self) -> None:
        """Removes what workers that were killed had not written to its end."""
        for path in self.folder.glob(f".*{UNFINISHED}"):
            path.unlink(missing_ok=True)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder / name} is damaged: {error}; start anew with --overwrite") from error
        return document

    def _write(self, name: str, document: Mapping[str, Any]) -> Path:
        path = self.folder / name
        beside = path.with_suffix(".tmp")
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        return path
