"""What the kernel writes on each logical CPU in `/proc/cpuinfo`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from eightfold.system.kernel_files import text

__all__ = ["cpu_name", "processors"]


@lru_cache(maxsize=8)
def processors(root: Path = Path("/")) -> Mapping[int, Mapping[str, str]]:
    """The fields of each logical CPU, by its number; empty where there is no such file.

    It is read once for each `root`: nothing in it that eightfold uses changes while a process runs.
    """
    listed = {}
    for block in (text(root / "proc/cpuinfo") or "").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        if fields.get("processor", "").isdecimal():
            listed[int(fields["processor"])] = fields
    return listed


def cpu_name(root: Path = Path("/")) -> str:
    """What the first CPU is called. Hypervisors hide the name ("AMD EPYC"): family and model numbers are behind it."""
    fields = next(iter(processors(root).values()), {})
    name = fields.get("model name", platform.machine())
    numbers = f" (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else ""
    return name + numbers
