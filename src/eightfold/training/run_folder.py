"""The output of a run, and the run that has not ended yet.

model.keras        the trained model
classes.txt        the names of its classes by number, a line each
history.json       what came of each epoch
report.json        what was done, and how fast it was
curve.png          loss and accuracy over the epochs
logs/              the same for TensorBoard
checkpoint/        what an unfinished run is resumed from; it is gone when the run is over
diverged.npz       the batch whose loss was not a number, where that ended the run
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from eightfold.errors import OutputError
from eightfold.quantization.folder_lock import FolderLock
from eightfold.quantization.placement import written_beside
from eightfold.training.checkpoint import Checkpoint

__all__ = ["CHECKPOINT", "RunFolder", "check_folder"]

CHECKPOINT = "checkpoint"
OWN = ("model.keras", "classes.txt", "history.json", "report.json", "curve.png", "logs", CHECKPOINT, "diverged.npz")


class RunFolder:
    """The folder of one run. Use it as a context manager: it is locked for as long as the block lasts.

    Args:
        path: made where it is not there.
        resume: a run that has not ended is to go on.
        overwrite: what is there of other runs is to be removed; other files stay.

    Raises:
        OutputError: it holds a run that is neither resumed nor overwritten, or nothing to resume; another process
            works in it; or it cannot be written to.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = path
        self.checkpoint = Checkpoint(path / CHECKPOINT)
        check_folder(path, resume=resume, overwrite=overwrite)
        self._lock = FolderLock(path, ".lock", f"trains in {path}")
        if overwrite and not resume:
            self._clear()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release(remove=True)
        if not any(self.path.iterdir()):  # nothing came of it
            self.path.rmdir()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, document: Mapping[str, Any] | Sequence[Any]) -> None:
        """Writes a document; an older one is replaced at once or not at all."""
        self.write_text(name, json.dumps(document, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text; an older one is replaced at once or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        with written_beside(self.path / name, overwrite=True) as place:
            place.write_text(text, encoding="utf-8")

    def _clear(self) -> None:
        """Removes what another run left; its checkpoint first, so that it is never taken for one of this run."""
        self.checkpoint.remove()
        for name in OWN:
            place = self.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


def check_folder(path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Whether a run may begin in a folder, or go on there; nothing is changed. See `RunFolder`.

    Raises:
        OutputError: it holds a run that is neither resumed nor overwritten, or nothing to resume; or it is a file.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; expected the name of a folder")
    over, unfinished = (path / "report.json").exists(), Checkpoint(path / CHECKPOINT).exists()
    if resume and not unfinished:
        what = "the run there is over" if over else "there is no checkpoint"
        raise OutputError(f"{path} cannot be resumed: {what}; start without --resume")
    if resume or overwrite:
        return
    if unfinished:
        raise OutputError(f"{path} holds a run that has not ended; go on with --resume, or start anew with --overwrite")
    if over or (path / "model.keras").exists():
        raise OutputError(f"{path} holds a trained model; choose another folder, or allow --overwrite")
