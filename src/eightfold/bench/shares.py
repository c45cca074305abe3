"""How many instances of a model run, and on how many cores each, where the user leaves a part of it open.

What is chosen is what launch scripts for Xeons choose (Intel's model zoo, torch.backends.xeon.run_cpu): for
throughput one instance on each NUMA node, for latency one on every four cores, each with one thread for each of its
cores and one operation at a time. `eightfold tune` looks for what is best.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from eightfold.errors import PlatformError
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import Topology, topology

__all__ = ["Placement", "on_socket", "placed"]

LATENCY_CORES = 4
"""Cores of an instance that is to answer soon: with more, threads wait for each other longer than they compute."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the user says about instances.

    Attributes:
        instances: how many; "auto" as many as the mode wants; None leaves it open.
        cores: physical cores of each.
        numa: whether each has cores of one NUMA node only.
    """

    instances: int | Literal["auto"] | None = None
    cores: int | None = None
    numa: bool = False


def placed(runtime: Runtime, wanted: Placement, mode: Mode, machine: Topology) -> Runtime:
    """The settings with the instances and cores that are wanted, on the cores that this process may use.

    A single instance of which nothing else is said stays where the operating system puts it. Instances that are
    pinned get one thread for each core and one operation at a time, unless the settings say otherwise.
    """
    if wanted == Placement():
        return runtime
    instances, cores = _shares(wanted, mode, machine)
    if cores is None:
        return replace(runtime, instances=instances, cores=None)
    return replace(runtime, instances=instances, cores=cores, intra=runtime.intra or cores, inter=runtime.inter or 1)


def _shares(wanted: Placement, mode: Mode, machine: Topology) -> tuple[int, int | None]:
    """The number of instances, and the cores of each."""
    usable, node = machine.usable, _node(machine)
    instances, cores = wanted.instances, wanted.cores
    if instances is None and wanted.numa:
        instances = "auto"
    if instances == "auto":
        if cores is None:
            cores = node if mode == "throughput" else min(LATENCY_CORES, node)
        return max(1, usable // cores), cores
    count = instances or 1
    if cores is None and wanted.numa:
        on_each_node = -(-count // max(1, len(machine.nodes)))
        cores = max(1, node // on_each_node)
    elif cores is None and count > 1:
        cores = max(1, usable // count)
    return count, cores


def _node(machine: Topology) -> int:
    """The cores of a NUMA node: of the smallest, and no more than its share of what may be used."""
    sizes = Counter(core.node for core in machine.cores).values()
    return max(1, min([*sizes, machine.usable // max(1, len(sizes))]))


@contextmanager
def on_socket(number: int | None) -> Iterator[None]:
    """Keeps this process, and those that it starts, to the CPUs of one socket for as long as the block lasts.

    Args:
        number: which socket; None keeps to nothing.

    Raises:
        PlatformError: there is no such socket among the CPUs that this process may use.
    """
    if number is None:
        yield
        return
    machine = topology()
    if number not in machine.sockets:
        known = ", ".join(map(str, machine.sockets))
        raise PlatformError(f"there is no socket {number} that this process may use; expected one of: {known}")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu for core in machine.cores if core.socket == number for cpu in core.cpus})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
