"""A model and workers that need no TensorFlow."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.prediction import job, local

STAND_IN = Path(__file__).with_name("stand_in_model.py")
Model = Callable[..., Path]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Model:
    """Makes a model of NumPy, see `stand_in_model`, and lets the workers run such models."""
    monkeypatch.setattr(local, "WORKER", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(job, "SMALLEST_SHARD", 1)

    def made(**wishes: Any) -> Path:
        path = tmp_path / "model.json"
        path.write_text(json.dumps(wishes))
        return path

    return made


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """200 rows of 3 numbers; the first number is that of the row."""
    values = np.random.default_rng(0).random((200, 3), dtype=np.float32)
    values[:, 0] = np.arange(200)
    np.save(tmp_path / "rows.npy", values)
    return tmp_path / "rows.npy"
