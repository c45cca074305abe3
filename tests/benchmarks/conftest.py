"""The scripts in benchmarks/ import each other by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the scripts importable, and gives their folder."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return SCRIPTS


@pytest.fixture
def results(scripts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of its own for what is recorded."""
    import report

    monkeypatch.setattr(report, "HERE", tmp_path)
    return tmp_path / "results"


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A file of the form of CIFAR-10: 12 pictures of each class to train, 4 to test."""
    rng = np.random.default_rng(0)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    arrays: dict[str, Any] = {"classes": np.array(names)}
    for part, each in (("train", 12), ("test", 4)):
        labels = np.tile(np.arange(10), each)
        pixels = rng.integers(0, 120, (len(labels), 32, 32, 3))
        pixels[np.arange(len(labels)), :, :, labels % 3] += 100
        arrays |= {f"x_{part}": pixels.astype(np.uint8), f"y_{part}": labels}
    np.savez(tmp_path / "cifar.npz", **arrays)
    return tmp_path / "cifar.npz"
