"""The cores that this process may compute on: sockets, NUMA nodes, threads of a core, and limits of all kinds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eightfold.system import cpu_list
from eightfold.system.cgroup import limits
from eightfold.system.cpu_info import processors
from eightfold.system.kernel_files import number, text

__all__ = ["Core", "Topology", "topology"]

_CPUS = Path("sys/devices/system/cpu")
_NODES = Path("sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core.

    Attributes:
        cpus: its logical CPUs (hyperthreads) that this process may use.
        socket: the package that it is on.
        node: the NUMA node of its memory; 0 where the kernel knows of none.
    """

    cpus: tuple[int, ...]
    socket: int
    node: int


@dataclass(frozen=True, slots=True)
class Topology:
    """The cores of this process and of its machine.

    Attributes:
        cores: the physical cores that this process may use: online, within its affinity and its cpuset; node by
            node, each with at least one CPU.
        quota: CPU time that the control group allows for each second, in CPUs (1.5); `None` where it sets no limit.
        machine: all physical cores that are online, with all their CPUs; those of `cores` where not given.
        efficiency: logical CPUs of the slower cores, where an Intel CPU has two kinds.
    """

    cores: tuple[Core, ...]
    quota: float | None = None
    machine: tuple[Core, ...] = ()
    efficiency: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.machine:
            object.__setattr__(self, "machine", self.cores)

    @property
    def usable(self) -> int:
        """How many cores can compute at a time: the physical cores, capped by the quota; at least 1.

        A part of a CPU is left out: the thread on it would be stopped within each period (100 ms), and the threads
        that share an operation with it would wait.
        """
        cores = max(1, len(self.cores))
        return cores if self.quota is None else max(1, min(cores, int(self.quota)))

    @property
    def cpus(self) -> tuple[int, ...]:
        """The logical CPUs that this process may use, in order."""
        return tuple(sorted(cpu for core in self.cores for cpu in core.cpus))

    @property
    def threads_per_core(self) -> int:
        """Logical CPUs of a physical core of the machine, the most of any."""
        return max((len(core.cpus) for core in self.machine), default=1)

    @property
    def sockets(self) -> tuple[int, ...]:
        """The packages that hold `cores`."""
        return tuple(sorted({core.socket for core in self.cores}))

    @property
    def nodes(self) -> tuple[int, ...]:
        """The NUMA nodes that hold `cores`."""
        return tuple(sorted({core.node for core in self.cores}))


def topology(root: Path = Path("/")) -> Topology:
    """The cores of this process, from the `/proc` and `/sys` below `root`.

    Where a sandbox hides `/sys`, `/proc/cpuinfo` says which CPUs share a core; where that does not either, each CPU
    of the affinity is taken for a core of one socket.
    """
    within = limits(root)
    affinity = _affinity(root)
    online = _online(root) or affinity
    allowed = affinity & online & (set(within.cpus) if within.cpus else affinity) or affinity
    machine = _cores(root, online | allowed)
    own = (Core(tuple(cpu for cpu in core.cpus if cpu in allowed), core.socket, core.node) for core in machine)
    slow = cpu_list.parse(text(root / "sys/devices/cpu_atom/cpus") or "")
    return Topology(tuple(core for core in own if core.cpus), within.quota, machine, slow)


def _affinity(root: Path) -> set[int]:
    """The CPUs that the scheduler may give to this process; some of them may be offline."""
    lines = (text(root / "proc/self/status") or "").splitlines()
    said = next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), "")
    return set(cpu_list.parse(said)) or set(_asked())


def _asked() -> Iterable[int]:
    """The CPUs of this process where `/proc` does not say so (gVisor, systems other than Linux)."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _online(root: Path) -> set[int]:
    return set(cpu_list.parse(text(root / _CPUS / "online") or "")) or set(processors(root))


def _cores(root: Path, cpus: set[int]) -> tuple[Core, ...]:
    """The cores that these CPUs are threads of, node by node, in the order of their first CPU."""
    node_of = _node_of(root)
    listed = processors(root)
    cores = {}
    for cpu in sorted(cpus):
        together = tuple(other for other in _siblings(root, cpu, listed) if other in cpus)
        cores[together[0]] = Core(together, _socket(root, cpu, listed), node_of.get(together[0], 0))
    return tuple(sorted(cores.values(), key=lambda core: (core.node, core.socket, core.cpus)))


def _siblings(root: Path, cpu: int, listed: Mapping[int, Mapping[str, str]]) -> tuple[int, ...]:
    """The CPUs of the same core, itself among them. The second file has the name of kernels before 5.10."""
    folder = root / _CPUS / f"cpu{cpu}" / "topology"
    said = text(folder / "core_cpus_list") or text(folder / "thread_siblings_list")
    if said:
        return tuple(sorted({cpu, *cpu_list.parse(said)}))
    fields = listed.get(cpu, {})
    if "core id" not in fields:
        return (cpu,)
    place = fields.get("physical id"), fields["core id"]
    return tuple(
        other for other, own in sorted(listed.items()) if (own.get("physical id"), own.get("core id")) == place
    )


def _socket(root: Path, cpu: int, listed: Mapping[int, Mapping[str, str]]) -> int:
    """Firmware that does not know says -1."""
    package = number(root / _CPUS / f"cpu{cpu}" / "topology/physical_package_id")
    return max(0, int(listed.get(cpu, {}).get("physical id", 0)) if package is None else package)


def _node_of(root: Path) -> dict[int, int]:
    nodes = (root / _NODES).glob("node[0-9]*")
    return {
        cpu: int(node.name.removeprefix("node"))
        for node in nodes
        for cpu in cpu_list.parse(text(node / "cpulist") or "")
    }
