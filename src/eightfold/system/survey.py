"""All that can be found out about a machine without TensorFlow, in one value."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eightfold.system.allocators import Library, installed
from eightfold.system.amx import amx_permitted
from eightfold.system.caches import Cache, caches
from eightfold.system.cgroup import Limits, limits
from eightfold.system.cpu_info import cpu_name
from eightfold.system.frequency import Frequency, frequency
from eightfold.system.host import Host, host
from eightfold.system.instructions import cpu_flags
from eightfold.system.memory import Memory, memory
from eightfold.system.topology import Topology, topology
from eightfold.system.variables import VARIABLES

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, slots=True)
class Survey:
    """A machine, and what of it this process may use.

    Attributes:
        cpu: its name.
        architecture: as "x86_64".
        kernel: operating system and release.
        flags: the instruction sets that Linux lists.
        amx_permitted: whether the kernel lets programs use AMX.
        allocators: those that are installed, and their files.
        variables: the environment variables that change how a model runs, as far as they are set.
    """

    cpu: str
    architecture: str
    kernel: str
    flags: frozenset[str]
    amx_permitted: bool
    topology: Topology
    limits: Limits
    caches: tuple[Cache, ...]
    memory: Memory
    frequency: Frequency
    host: Host
    allocators: Mapping[Library, Path]
    variables: Mapping[str, str]


def survey(root: Path = Path("/")) -> Survey:
    """What is below `root`; architecture, kernel, AMX and variables are those of this process in any case."""
    cores = topology(root)
    return Survey(
        cpu=cpu_name(root),
        architecture=platform.machine(),
        kernel=f"{platform.system()} {platform.release()}",
        flags=cpu_flags(root),
        amx_permitted=amx_permitted(),
        topology=cores,
        limits=limits(root),
        caches=caches(cores.cpus, root),
        memory=memory(root),
        frequency=frequency(cores.cpus, root),
        host=host(root),
        allocators=installed(root),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )
