"""How a program is started with the settings of a model: its copies, their CPUs and their environment."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eightfold.errors import PlatformError
from eightfold.running.environment import PRELOAD, environment
from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Mode, Runtime
from eightfold.system import cpu_list
from eightfold.system.topology import Topology

__all__ = ["INSTANCE", "INSTANCES", "MODE", "Copy", "Launch", "launch", "with_given", "without_given"]

INSTANCE, INSTANCES, MODE = "EIGHTFOLD_INSTANCE", "EIGHTFOLD_INSTANCES", "EIGHTFOLD_MODE"
"""What a program learns about itself: which copy it is, from 0; how many there are; what the settings are good for."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One process.

    Attributes:
        cpus: the CPUs that it may use; None leaves it to the operating system.
        env: the variables that are set for it, beside those that are there already.
    """

    cpus: tuple[int, ...] | None
    env: Mapping[str, str]

    def command(self, program: Sequence[str]) -> str:
        """What does the same in a shell."""
        pinned = () if self.cpus is None else ("taskset", "-c", cpu_list.write(self.cpus))
        assigned = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        return " ".join(["env", *assigned, shlex.join([*pinned, *program])])


@dataclass(frozen=True, slots=True)
class Launch:
    """A program and its copies; `notes` say what of the settings does not act, and why."""

    program: tuple[str, ...]
    copies: tuple[Copy, ...]
    notes: tuple[str, ...] = ()


def launch(
    program: Sequence[str], settings: Runtime, mode: Mode, here: Topology, *, instances: int | None = None
) -> Launch:
    """The program with the settings: as many copies as they say, or as are asked for, each on cores of its own.

    Raises:
        PlatformError: more instances are asked for than there are cores, or the allocator is not installed.
    """
    if instances is not None:
        settings = _shared_out(settings, instances, here)
    env, notes = without_given(environment(settings))
    if settings.instances > 1:
        env.setdefault("PYTHONUNBUFFERED", "1")  # a copy writes to a pipe; its lines should come when they are written
    copies = tuple(
        Copy(cpus, {**env, MODE: mode, INSTANCE: str(number), INSTANCES: str(settings.instances)})
        for number, cpus in enumerate(cpus_of(settings, here))
    )
    return Launch(tuple(program), copies, (*notes, *_left_to_program(settings)))


def without_given(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables that the user has not set already, which win, and a sentence on each that says something else.

    LD_PRELOAD is no such case: what it names already stays in it.
    """
    given = {name: os.environ[name] for name in env if name in os.environ and name != PRELOAD}
    notes = [
        f"{name}={value} is in the environment already and stays; the settings have {env[name]}"
        for name, value in given.items()
        if value != env[name]
    ]
    return {name: value for name, value in env.items() if name not in given}, notes


def with_given(settings: Runtime) -> tuple[Runtime, list[str]]:
    """The settings with the variables that the user has set already as they are; see `without_given`."""
    _, notes = without_given(settings.env)
    return replace(settings, env={name: os.environ.get(name, value) for name, value in settings.env.items()}), notes


def _shared_out(settings: Runtime, instances: int, here: Topology) -> Runtime:
    """The settings for another number of instances: each with its cores, or with fewer where these are too many."""
    if instances > here.usable:
        raise PlatformError(f"{instances} instances need a core each; this process may use {here.usable}")
    most = here.usable // instances
    if instances == 1 and settings.cores is None:
        return replace(settings, instances=1)
    cores = min(settings.cores or most, most)
    return replace(settings, instances=instances, cores=cores, intra=min(settings.intra or cores, cores))


def _left_to_program(settings: Runtime) -> list[str]:
    """What no variable says."""
    notes = []
    if settings.layout is not None or settings.precision != "as is":
        wanted = [settings.layout, "bfloat16" if settings.precision == "bf16" else None]
        notes.append(
            f"{' and '.join(filter(None, wanted))}: a session's configuration has it, no variable; "
            "it acts where the program opens the model with eightfold.load"
        )
    if settings.batch_size > 1:
        notes.append(f"the settings are for batches of {settings.batch_size}, which the program has to form")
    return notes
