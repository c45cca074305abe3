"""The caches between cores and memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eightfold.system import cpu_list
from eightfold.system.kernel_files import number, text

__all__ = ["Cache", "caches"]

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Cache:
    """The caches of one level and kind.

    Attributes:
        level: 1 is the nearest to a core.
        kind: "Data", "Instruction" or "Unified".
        size: bytes of each.
        shared: for each of them, the logical CPUs that share it.
    """

    level: int
    kind: str
    size: int
    shared: tuple[tuple[int, ...], ...]


def caches(cpus: Iterable[int], root: Path = Path("/")) -> tuple[Cache, ...]:
    """The caches of these CPUs, from the `/sys` below `root`; empty where the kernel does not list them."""
    found: dict[tuple[int, str, int], set[tuple[int, ...]]] = {}
    for cpu in cpus:
        for index in (root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index[0-9]*"):
            level, kind, size = number(index / "level"), text(index / "type"), _bytes(text(index / "size"))
            if level and kind and size:
                shared = cpu_list.parse(text(index / "shared_cpu_list") or str(cpu))
                found.setdefault((level, kind, size), set()).add(shared)
    return tuple(Cache(*which, tuple(sorted(shared))) for which, shared in sorted(found.items()))


def _bytes(size: str | None) -> int | None:
    """A size as the kernel writes it: 32768K."""
    if not size:
        return None
    unit = _UNITS.get(size[-1])
    return int(size[:-1]) * unit if unit else int(size)
