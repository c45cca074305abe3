"""How much memory there is, and how the kernel hands it out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from eightfold.system.cgroup import limits
from eightfold.system.kernel_files import text

__all__ = ["Memory", "memory"]

_HUGE_PAGES = Path("sys/kernel/mm/transparent_hugepage/enabled")


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory, in bytes.

    Attributes:
        total: of the machine.
        limit: of the control group; `None` without one.
        available: of `total`, what programs can take without swapping; `None` where the kernel does not say.
        huge_pages: "always", "madvise" or "never" give transparent huge pages; `None` where there are none.
    """

    total: int
    limit: int | None = None
    available: int | None = None
    huge_pages: str | None = None

    @property
    def usable(self) -> int:
        """What this process may use at most."""
        return self.total if self.limit is None else min(self.limit, self.total)

    @property
    def free(self) -> int:
        """What this process can still take."""
        return self.usable if self.available is None else min(self.available, self.usable)


def memory(root: Path = Path("/")) -> Memory:
    """The memory, from the `/proc` and `/sys` below `root`."""
    said = text(root / "proc/meminfo") or ""
    sizes = {name: int(number) * 1024 for name, number in re.findall(r"^(\w+): +(\d+) kB$", said, re.MULTILINE)}
    chosen = re.search(r"\[(\w+)\]", text(root / _HUGE_PAGES) or "")
    return Memory(
        total=sizes.get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        limit=limits(root).memory,
        available=sizes.get("MemAvailable"),
        huge_pages=chosen[1] if chosen else None,
    )
