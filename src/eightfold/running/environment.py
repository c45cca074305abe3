"""The environment variables that settings stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from eightfold.errors import PlatformError
from eightfold.running.settings import Allocator, Runtime
from eightfold.system.allocators import PACKAGES, installed

__all__ = ["INTER", "INTRA", "PRELOAD", "environment", "library", "threads", "without_allocators"]

INTRA, INTER = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
PRELOAD = "LD_PRELOAD"
_ALLOCATOR = re.compile(r"malloc")


def environment(runtime: Runtime) -> dict[str, str]:
    """All that the settings say by environment variables: threads, oneDNN's switches, the allocator.

    Cores are given by pinning, batch size and instances by whoever starts the processes, layout and bfloat16 by the
    session's configuration: no variable stands for them.

    Returns:
        The variables to set. A library that LD_PRELOAD names already stays, behind the allocator.

    Raises:
        PlatformError: the allocator is not installed.
    """
    preloaded = library(runtime.allocator)
    return {**threads(runtime), **runtime.env, **({PRELOAD: _before_others(preloaded)} if preloaded else {})}


def threads(runtime: Runtime) -> Mapping[str, str]:
    """The variables for the numbers of threads.

    Sessions and eager operations follow them where the program's own ConfigProto or tf.config says nothing.
    """
    return {name: str(count) for name, count in ((INTRA, runtime.intra), (INTER, runtime.inter)) if count is not None}


@lru_cache
def library(allocator: Allocator) -> str | None:
    """The path of an allocator's library; None for the system's own.

    Raises:
        PlatformError: it is not installed.
    """
    if allocator == "system":
        return None
    found = installed()
    if allocator not in found:
        raise PlatformError(
            f"the settings ask for the memory allocator {allocator}, which is not installed here; "
            f"install it (Debian and Ubuntu: apt install {PACKAGES[allocator]})"
        )
    return str(found[allocator])


def without_allocators(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The change to an environment that leaves the C library's allocator; other libraries stay in LD_PRELOAD.

    Returns:
        LD_PRELOAD and its new value, None where it is to be taken away.
    """
    kept = [path for path in _preloaded(environment) if not _ALLOCATOR.search(Path(path).name)]
    return {PRELOAD: ":".join(kept) or None}


def _preloaded(environment: Mapping[str, str]) -> list[str]:
    return environment.get(PRELOAD, "").replace(":", " ").split()


def _before_others(path: str) -> str:
    others = [other for other in _preloaded(os.environ) if other != path]
    return ":".join([path, *others])
