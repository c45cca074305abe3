"""A folder that one process at a time works in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from eightfold.errors import OutputError

__all__ = ["FolderLock"]


class FolderLock:
    """A file in a folder, locked until `release`, or until the process ends, however it does.

    Args:
        folder: made where it is not there.
        name: of the file.
        use: what another process that holds it does, for the message: "trains in run".

    Raises:
        OutputError: another process holds it; or the folder cannot be written to, or knows no locks.
    """

    def __init__(self, folder: Path, name: str, use: str) -> None:
        self._file = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._held = self._locked(use)
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror}") from error

    def release(self, *, remove: bool = False) -> None:
        """Lets others have it.

        Args:
            remove: whether the file is removed, too.
        """
        if remove:
            self._file.unlink(missing_ok=True)
        self._held.close()

    def _locked(self, use: str) -> IO[str]:
        while True:
            held = self._file.open("w")
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                held.close()
                raise OutputError(f"another process {use}: it holds {self._file}") from error
            except OSError as error:  # some network file systems know no locks
                held.close()
                raise OutputError(f"{self._file.parent} cannot be locked: {error.strerror}") from error
            if self._is_there(held):
                return held
            held.close()  # its holder removed it after it was opened here

    def _is_there(self, held: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(held.fileno()), self._file.stat())
        except FileNotFoundError:
            return False
