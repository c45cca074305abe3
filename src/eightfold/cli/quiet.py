"""TensorFlow without its log."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from eightfold.system.onednn import switch_on

__all__ = ["import_tensorflow"]

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow with oneDNN, and quietly unless the user has chosen a log level.

    What TensorFlow writes while it is being loaded comes before any level takes effect: for as long as that
    takes, the standard error of this process leads nowhere.
    """
    switch_on()
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        return
    os.environ[LOG_LEVEL] = "3"
    with _nowhere(2):
        import tensorflow  # noqa: F401
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def _nowhere(descriptor: int) -> Iterator[None]:
    """Throws away what is written to a file descriptor while the block runs."""
    sys.stderr.flush()
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
