"""Pages that need nothing else: an explanation, and what tuning found."""

from __future__ import annotations

from pathlib import Path

from eightfold.cli.page.html import page
from eightfold.cli.page.parts import written
from eightfold.quantization.explain import Explanation

__all__ = ["page", "write_page"]


def write_page(explanation: Explanation, file: Path) -> None:
    """Writes the page of an explanation; an older file is replaced at once or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    written(page(explanation), file)
