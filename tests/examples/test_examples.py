"""The examples run, and are short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lowering import COARSER

EXAMPLES = Path(__file__).parents[2] / "examples"
LONG = {"demo.py"}  # what `make demo` runs takes minutes
ELSEWHERE = {"train_digits.py"}  # runs where the documents are tried, in tests/docs
FEW = r"[0-4]\.\d\d" if COARSER == 1 else r"\d\.\d\d"
"""Percent: below 5, or where weights have 7 bits, twice as much."""
PRINTS = {
    "step_by_step.py": r"all but the first: largest error [0-4]\.\d\d% ",
    "two_inputs.py": r"6 ops in 8 bits[^\n]*\n[2-9]\d\.\d dB on 16 examples",
    "without_data.py": rf"3 products in 8 bits\ninput up to 1: error {FEW}%\ninput up to 100: error {FEW}%",
}


@pytest.mark.int8
@pytest.mark.parametrize("name", sorted(PRINTS))
def test_it_runs_and_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=tmp_path, env=environment, capture_output=True, check=False, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert re.search(PRINTS[name], run.stdout), run.stdout


def test_every_example_is_tried_and_at_most_60_lines_long() -> None:
    found = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert found.keys() == PRINTS.keys() | LONG | ELSEWHERE
    assert max(lines for name, lines in found.items() if name not in LONG) <= 60
