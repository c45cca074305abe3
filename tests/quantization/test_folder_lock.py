"""A folder has one user at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eightfold.errors import OutputError
from eightfold.quantization import folder_lock
from eightfold.quantization.folder_lock import FolderLock


def test_one_process_at_a_time_has_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "a" / "b", "lock", "works on b")
    with pytest.raises(OutputError, match="another process works on b: it holds .*a/b/lock"):
        FolderLock(tmp_path / "a" / "b", "lock", "works on b")
    lock.release()
    FolderLock(tmp_path / "a" / "b", "lock", "works on b").release(remove=True)
    assert not list((tmp_path / "a" / "b").iterdir())


def test_a_file_that_was_removed_while_it_was_opened_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FolderLock(tmp_path, "lock", "works here")
    flock = folder_lock.fcntl.flock

    def late(*arguments: int) -> None:
        monkeypatch.setattr(folder_lock.fcntl, "flock", flock)
        first.release(remove=True)
        flock(*arguments)

    monkeypatch.setattr(folder_lock.fcntl, "flock", late)
    second = FolderLock(tmp_path, "lock", "works here")
    with pytest.raises(OutputError, match="another process works here"):
        FolderLock(tmp_path, "lock", "works here")
    second.release()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"cannot write to {tmp_path}/file: {os.strerror(17)}"):
        FolderLock(tmp_path / "file", "lock", "works here")
