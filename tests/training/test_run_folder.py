"""The folder of a run: what is refused, replaced, kept and left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eightfold.errors import OutputError
from eightfold.training.checkpoint import Checkpoint
from eightfold.training.run_folder import RunFolder


def unfinished(path: Path) -> None:
    Checkpoint(path / "checkpoint").save({"model": [np.zeros(1)]}, {})


def finished(path: Path) -> None:
    path.mkdir()
    for name in ("model.keras", "report.json"):
        (path / name).write_text("{}")


def test_nothing_is_left_where_nothing_came_of_it(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "a" / "run") as folder:
        assert folder.path.is_dir()
    assert not (tmp_path / "a" / "run").exists()


def test_what_is_written_stays(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.write_json("report.json", {"a": 1})
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["report.json"]


def test_an_unfinished_run_is_resumed_or_replaced_and_else_refused(tmp_path: Path) -> None:
    unfinished(tmp_path / "run")
    with pytest.raises(OutputError, match="a run that has not ended; go on with --resume"):
        RunFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run", resume=True) as folder:
        assert folder.checkpoint.exists()
    with RunFolder(tmp_path / "run", overwrite=True) as folder:
        assert not folder.checkpoint.exists()


def test_a_finished_run_is_replaced_only_where_that_is_allowed(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds a trained model"):
        RunFolder(tmp_path / "run")
    with pytest.raises(OutputError, match="cannot be resumed: the run there is over"):
        RunFolder(tmp_path / "run", resume=True)
    with RunFolder(tmp_path / "run", overwrite=True):
        assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [".lock", "notes.txt"]


def test_nothing_to_resume_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no checkpoint"):
        RunFolder(tmp_path / "run", resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file; expected the name of a folder"):
        RunFolder(tmp_path / "file")


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run"), pytest.raises(OutputError, match="another process trains in"):
        RunFolder(tmp_path / "run", overwrite=True)
