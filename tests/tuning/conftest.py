"""Models of numbers, and workers that run them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated import cores

from eightfold.tuning import processes, request, tune

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_settings.py")))


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model folder whose file tells the stand-in how fast it is."""

    def make(name: str = "net", **told: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "saved_model.pb").write_text(json.dumps({"ms": {"intra 1": 2.0}, **told}))
        return folder

    return make


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Lets the stand-in run all models, on as many cores as there are, without allocators; gives its log."""
    log = tmp_path / "stand_in.log"
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    monkeypatch.setattr(tune, "Processes", functools.partial(processes.Processes, program=STAND_IN))
    monkeypatch.setattr(request, "installed", dict)
    monkeypatch.setattr(request, "topology", lambda: cores(1))
    return log
