"""Sets of CPUs in the kernel's short form, 0-3,8,10-11: also what taskset and numactl take."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["parse", "write"]


def parse(text: str) -> tuple[int, ...]:
    """The CPUs of a list, in order; an empty text is an empty list.

    Raises:
        ValueError: the text is no such list.
    """
    cpus: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))


def write(cpus: Iterable[int]) -> str:
    """The list of these CPUs: `parse` reads it back."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
