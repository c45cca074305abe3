"""The cores of a machine as a drawing of a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from eightfold.system import cpu_list
from eightfold.system.caches import Cache
from eightfold.system.findings import written_bytes
from eightfold.system.topology import Core, Topology

__all__ = ["picture"]

OURS, OTHERS = "█", "░"
MOST_CORES = 128
ROW = 16


def picture(topology: Topology, caches: Sequence[Cache] = ()) -> list[str]:
    """The machine's cores, in lines of at most 16 that share their last cache.

    ```text
    socket 0  node 0  L3 32 MiB  ██ ██ ██ ██ ░░ ░░ ░░ ░░  CPUs 0-7,64-71
                      L3 32 MiB  ░░ ░░ ░░ ░░ ░░ ░░ ░░ ░░  CPUs 8-15,72-79
    ```

    A core has a block for each of its threads; full ones are CPUs that this process may use. A machine of more than
    128 cores gets one line for each node, with numbers in place of blocks.
    """
    last = _last_cache(caches)
    ordered = sorted(topology.machine, key=lambda core: _place(core, last))
    lines = [*(_counted if len(ordered) > MOST_CORES else _drawn)(ordered, topology, last)]
    columns = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ("  ".join(cell.ljust(width) for cell, width in zip(line, columns, strict=True) if width) for line in lines)
    return [line.rstrip() for line in text]


_Line = tuple[str, str, str, str, str]
"""Socket, node, cache, cores, CPUs."""


def _drawn(cores: Iterable[Core], topology: Topology, last: Cache | None) -> Iterator[_Line]:
    ours = set(topology.cpus)
    before: tuple[int, int] | None = None
    for (socket, node, shared), together in groupby(cores, key=lambda core: _place(core, last)):
        group = list(together)
        for start in range(0, len(group), ROW):
            part = group[start : start + ROW]
            where = ("", "") if before == (socket, node) else (f"socket {socket}", f"node {node}")
            cache = f"L{last.level} {written_bytes(last.size)}" if last and shared and not start else ""
            yield (*where, cache, " ".join(_blocks(core, ours) for core in part), _cpus(part))
            before = socket, node


def _counted(cores: Iterable[Core], topology: Topology, _: Cache | None) -> Iterator[_Line]:
    for (socket, node), together in groupby(cores, key=lambda core: (core.socket, core.node)):
        part = list(together)
        own = sum((core.socket, core.node) == (socket, node) for core in topology.cores)
        yield f"socket {socket}", f"node {node}", "", f"{own} of {len(part)} cores", _cpus(part)


def _last_cache(caches: Sequence[Cache]) -> Cache | None:
    """The outermost, where cores share it."""
    last = caches[-1] if caches else None
    return last if last and last.level > 2 else None


def _place(core: Core, last: Cache | None) -> tuple[int, int, tuple[int, ...]]:
    shared = last.shared if last else ()
    return core.socket, core.node, next((cpus for cpus in shared if core.cpus[0] in cpus), ())


def _blocks(core: Core, ours: set[int]) -> str:
    return "".join(OURS if cpu in ours else OTHERS for cpu in core.cpus)


def _cpus(cores: Iterable[Core]) -> str:
    return f"CPUs {cpu_list.write(cpu for core in cores for cpu in core.cpus)}"
