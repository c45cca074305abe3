"""Which CPUs each instance of a model is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from eightfold.errors import PlatformError
from eightfold.running.settings import Runtime
from eightfold.system.topology import Core, Topology

__all__ = ["cpus_of"]


def cpus_of(runtime: Runtime, topology: Topology) -> tuple[tuple[int, ...] | None, ...]:
    """For each instance its logical CPUs, or None where the settings leave it to the operating system.

    No instance has cores of two NUMA nodes where it fits into one, since memory of another node is slower; instances
    are spread over the nodes, since each node has memory channels of its own. Of a core, an instance gets one logical
    CPU: TensorFlow makes one thread for each CPU it may use, and two threads of one core share its 8-bit units. Only
    settings with more threads than cores get the second.

    Raises:
        PlatformError: the instances together need more cores than this process may use.
    """
    if runtime.cores is None:
        return (None,) * runtime.instances
    wanted = runtime.instances * runtime.cores
    if wanted > topology.usable:
        raise PlatformError(
            f"{runtime.instances} instances of {runtime.cores} cores need {wanted} cores; "
            f"this process may use {topology.usable}"
        )
    both = runtime.intra is not None and runtime.intra > runtime.cores
    return tuple(
        tuple(sorted(cpu for core in cores for cpu in (core.cpus if both else core.cpus[:1])))
        for cores in _shares(topology.cores, runtime.instances, runtime.cores)
    )


def _shares(cores: Sequence[Core], instances: int, each: int) -> list[list[Core]]:
    """As many shares of so many cores, inside a node each as long as any node has room for one."""
    free: dict[int, list[Core]] = defaultdict(list)
    for core in cores:
        free[core.node].append(core)
    shares = []
    for _ in range(instances):
        roomiest = max(free.values(), key=len)
        source = roomiest if len(roomiest) >= each else _by_nearness(free.values())
        share = source[:each]
        for core in share:
            free[core.node].remove(core)
        shares.append(share)
    return shares


def _by_nearness(nodes: Iterable[Sequence[Core]]) -> list[Core]:
    """All free cores, such that the first of them lie in few sockets and few nodes."""
    sockets: dict[int, list[Sequence[Core]]] = defaultdict(list)
    for node in nodes:
        if node:
            sockets[node[0].socket].append(node)
    roomiest = sorted(sockets.values(), key=lambda of_socket: -sum(map(len, of_socket)))
    return [core for of_socket in roomiest for node in sorted(of_socket, key=len, reverse=True) for core in node]
