"""Settings that were found on one machine, made to fit the one that they are used on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eightfold.running.settings import Runtime, counted
from eightfold.system.allocators import installed
from eightfold.system.cpu_info import cpu_name
from eightfold.system.instructions import has_bfloat16
from eightfold.system.onednn import asked_for
from eightfold.system.topology import Topology

__all__ = ["Fitted", "Here", "fitted"]


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine has.

    Attributes:
        cpu: its name.
        topology: the cores that this process may use.
        allocators: memory allocators that are installed.
        bfloat16: whether the CPU has such instructions.
        onednn: the variables with which TensorFlow uses oneDNN on this CPU, where it does not by itself.
    """

    cpu: str
    topology: Topology
    allocators: frozenset[str]
    bfloat16: bool
    onednn: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> Here:
        """This machine, with the cores of a topology."""
        return cls(cpu_name(), topology, frozenset(installed()), has_bfloat16(), asked_for())


@dataclass(frozen=True, slots=True)
class Fitted:
    """Settings that can work here, and a sentence on each thing that had to be changed or is in doubt."""

    settings: Runtime
    notes: tuple[str, ...]


def fitted(settings: Runtime, machine: Mapping[str, Any], here: Here) -> Fitted:
    """The settings, with what cannot work here scaled down: instances and cores first, then what hangs on them.

    Args:
        settings: as they were found.
        machine: where; `bench.machine.Machine` as a table, of which the name of the CPU and the cores are read.
        here: where they are to be used.
    """
    notes = _other_machine(machine, here)
    for step in (_instances, _cores, _threads, _allocator, _layout, _precision, _onednn):
        settings, note = step(settings, here)
        if note:
            notes.append(note)
    return Fitted(settings, tuple(notes))


def _other_machine(machine: Mapping[str, Any], here: Here) -> list[str]:
    cpu, cores = machine.get("cpu", here.cpu), machine.get("cores", len(here.topology.cores))
    if (cpu, cores) == (here.cpu, len(here.topology.cores)):
        return []
    return [
        f"the settings were found on {cpu} with {cores} cores, and this is {here.cpu} with {len(here.topology.cores)}; "
        "find better ones here with eightfold tune"
    ]


def _instances(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    each, usable = settings.cores or 1, here.topology.usable
    if settings.instances * each <= usable:
        return settings, None
    fewer = max(1, usable // each)
    if fewer == settings.instances:
        return settings, None  # one instance; it is its cores that are too many
    needed = f"{settings.instances} instances of {counted(each, 'core')}"
    return replace(settings, instances=fewer), f"{fewer} in place of {needed}: there are {usable}"


def _cores(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    usable = here.topology.usable
    if settings.cores is None or settings.cores <= usable:
        return settings, None
    return replace(settings, cores=usable), f"{counted(usable, 'core')} in place of {settings.cores}: there are no more"


def _threads(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    """No more threads inside an operation than CPUs: they would wait for each other."""
    each = here.topology.threads_per_core
    most = settings.cores * each if settings.cores else max(here.topology.usable * each, 1)
    if settings.intra is None or settings.intra <= most:
        return settings, None
    return replace(settings, intra=most), f"intra {most} in place of {settings.intra}: there are no more CPUs for it"


def _allocator(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    if settings.allocator == "system" or settings.allocator in here.allocators:
        return settings, None
    return replace(settings, allocator="system"), f"without {settings.allocator}: it is not installed here"


def _layout(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    """TensorFlow 2.21's layout optimizer refuses NHWC_TO_NCHW where there is no GPU, and leaves the graph as it is."""
    if settings.layout != "NCHW":
        return settings, None
    return replace(settings, layout=None), "without the layout NCHW: on CPUs TensorFlow brings graphs to NHWC only"


def _precision(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    if settings.precision != "bf16" or here.bfloat16:
        return settings, None
    return replace(settings, precision="as is"), "without bfloat16: this CPU has no instructions for it"


def _onednn(settings: Runtime, here: Here) -> tuple[Runtime, str | None]:
    """Without it 8-bit products do not run, and float is slower."""
    missing = {name: value for name, value in here.onednn.items() if name not in settings.env}
    if not missing:
        return settings, None
    said = ", ".join(f"{name}={value}" for name, value in missing.items())
    return replace(settings, env={**missing, **settings.env}), f"with {said}: TensorFlow leaves oneDNN off on this CPU"
