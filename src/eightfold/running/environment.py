"""The environment variables that settings stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from eightfold.errors import PlatformError
from eightfold.running.settings import Allocator, Runtime
from eightfold.system.allocators import PACKAGES, installed

__all__ = ["INTER", "INTRA", "PRELOAD", "environment", "library", "threads"]

INTRA, INTER = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
PRELOAD = "LD_PRELOAD"


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


def _before_others(path: str) -> str:
    others = [other for other in os.environ.get(PRELOAD, "").replace(":", " ").split() if other != path]
    return ":".join([path, *others])
