"""Environment variables set from inside a program, where it is not too late for them.

When TensorFlow 2.21 reads what, seen by recording its calls of getenv: TF_ENABLE_ONEDNN_OPTS, TF_CPP_* and OMP_* while
it is imported; TF_NUM_*_THREADS and TF_OVERRIDE_GLOBAL_THREADPOOL when the first session or eager operation makes its
threads; TF_ONEDNN_* and ONEDNN_* when the first oneDNN operation runs. Each is read once in the life of a process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

from eightfold.running.environment import PRELOAD, library
from eightfold.running.launch import without_given
from eightfold.running.settings import Allocator

__all__ = ["Stage", "is_preloaded", "late_variables", "set_variables", "stage"]


class Stage(IntEnum):
    """How far TensorFlow has come in this process."""

    NOT_LOADED = 0
    LOADED = 1
    """Imported; it has made no threads yet."""
    STARTED = 2
    """It has made its threads, and may have computed."""


_NEVER_INSIDE = ("LD_", "MALLOC_", "GLIBC_", "TCMALLOC_")
"""Read when the process starts."""
_AT_IMPORT = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_", "OMP_", "KMP_")


def stage() -> Stage:
    """How far TensorFlow has come; its threads for operations are known by their name."""
    if "tensorflow" not in sys.modules:
        return Stage.NOT_LOADED
    return Stage.STARTED if "tf_Compute" in _thread_names() else Stage.LOADED


def _thread_names() -> set[str]:
    names = set()
    for file in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has ended meanwhile
            names.add(file.read_text().strip())
    return names


def late_variables(env: Mapping[str, str], now: Stage) -> dict[str, str]:
    """The variables that can no longer act in this process: neither set already nor still to be read."""
    return {name: value for name, value in env.items() if os.environ.get(name) != value and now > _last(name)}


def is_preloaded(allocator: Allocator) -> bool:
    """Whether this process was started with the allocator; the system's own always is there."""
    path = library(allocator)
    return path is None or Path(path).name in os.environ.get(PRELOAD, "")


def _last(name: str) -> int:
    """The last stage at which a variable can still be set."""
    if name.startswith(_NEVER_INSIDE):
        return Stage.NOT_LOADED - 1
    return Stage.NOT_LOADED if name.startswith(_AT_IMPORT) else Stage.LOADED


@contextmanager
def set_variables(env: Mapping[str, str]) -> Iterator[list[str]]:
    """Sets variables for as long as the block lasts; those that the user has set already stay, and are named."""
    wanted, notes = without_given(env)
    os.environ.update(wanted)
    try:
        yield notes
    finally:
        for name in wanted:
            os.environ.pop(name, None)
