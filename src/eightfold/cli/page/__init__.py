"""An explanation as one HTML page that needs nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from eightfold.cli.page.html import page
from eightfold.errors import OutputError
from eightfold.quantization.explain import Explanation

__all__ = ["page", "write_page"]


def write_page(explanation: Explanation, file: Path) -> None:
    """Writes the page; an older file is replaced at once or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    text = page(explanation)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise OutputError(f"the page cannot be written to {file}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
