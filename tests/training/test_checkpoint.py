"""Checkpoints: whole or not at all, and of the run that asks for them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from nets import sequential

from eightfold.errors import DataError, OutputError
from eightfold.training.checkpoint import Checkpoint, assign


def test_variables_and_state_come_back(tmp_path: Path) -> None:
    model = sequential()
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    values = [np.asarray(one) for one in model.variables]
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    assert not checkpoint.exists()
    checkpoint.save({"model": model.variables, "optimizer": optimizer.variables, "none": []}, {"epoch": 3})
    for one in model.variables:
        one.assign(np.zeros_like(one))
    groups, state = checkpoint.load()
    assert state["epoch"] == 3
    assert "none" not in groups
    assign(model.variables, groups["model"])
    for one, value in zip(model.variables, values, strict=True):
        np.testing.assert_array_equal(one, value)
    assign(optimizer.variables, groups["optimizer"])
    checkpoint.remove()
    assert not (tmp_path / "checkpoint").exists()


def test_more_than_ten_variables_keep_their_order(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"model": [np.array(at) for at in range(25)]}, {})
    assert [int(one) for one in checkpoint.load()[0]["model"]] == list(range(25))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"model": [np.zeros((2, 3))]}, {})
    with pytest.raises(DataError, match="of another model or optimizer: expected 12 variables"):
        assign(sequential().weights, checkpoint.load()[0]["model"])


def test_a_damaged_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"model": [np.zeros(1000)]}, {})
    checkpoint.file.write_bytes(checkpoint.file.read_bytes()[:500])
    with pytest.raises(DataError, match="is damaged.*start anew with --overwrite"):
        checkpoint.load()


def test_nothing_is_left_of_a_write_that_was_killed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.save({"model": [np.zeros(3)]}, {})
    (tmp_path / "checkpoint" / ".state.npz.123").write_bytes(b"PK")
    checkpoint.remove()
    assert not (tmp_path / "checkpoint").exists()


def test_an_older_file_survives_a_failing_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"model": [np.ones(3)]}, {"epoch": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        checkpoint.save({"model": [np.zeros(3)]}, {"epoch": 2})
    groups, state = checkpoint.load()
    assert state["epoch"] == 1
    assert groups["model"][0].tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]
