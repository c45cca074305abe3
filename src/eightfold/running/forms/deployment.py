"""What a server is started with, whatever starts it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eightfold.running.chosen import Chosen
from eightfold.running.environment import PRELOAD, library, threads
from eightfold.running.file import place, tuned_model
from eightfold.running.launch import INSTANCE, INSTANCES, MODE
from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Runtime
from eightfold.system.allocators import PACKAGES
from eightfold.system.topology import Topology

__all__ = ["Deployment", "assigned", "heredoc", "together", "wrapped"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Settings with all that the forms need to know.

    Attributes:
        name: of the model, fit for a service: lower case, digits and hyphens.
        model: the model that the settings are for; None for a file of settings that names none.
        chosen: the settings, and where they come from.
        env: the environment variables of every instance, without the allocator.
        places: the CPUs of each instance; None where they are left to the operating system.
    """

    name: str
    model: Path | None
    chosen: Chosen
    env: Mapping[str, str]
    places: tuple[tuple[int, ...] | None, ...]

    @classmethod
    def of(cls, chosen: Chosen) -> Deployment:
        """The deployment of settings on the cores of this machine.

        Raises:
            ModelError: the model that the settings are for is not there.
        """
        model = tuned_model(chosen.source, chosen.tuned)
        settings = chosen.settings
        named = (model or chosen.source).absolute()
        stem = named.stem if named.is_file() else named.name
        return cls(
            name=re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "model",
            model=model and model.absolute(),
            chosen=chosen,
            env={**threads(settings), **settings.env, MODE: chosen.mode},
            places=cpus_of(settings, chosen.topology),
        )

    @property
    def settings(self) -> Runtime:
        return self.chosen.settings

    @property
    def topology(self) -> Topology:
        return self.chosen.topology

    def env_of(self, number: int, *, preload: bool = True) -> dict[str, str]:
        """All variables of an instance, the allocator's with its path on this machine where it is wanted."""
        path = library(self.settings.allocator) if preload else None
        own = {INSTANCE: str(number), INSTANCES: str(len(self.places))}
        return {**self.env, **({PRELOAD: path} if path else {}), **own}

    def env_in_image(self, number: int) -> dict[str, str]:
        """The same inside an image, where the allocator is somewhere along the path of the linker."""
        env = self.env_of(number)
        return {**env, PRELOAD: Path(env[PRELOAD]).name} if PRELOAD in env else env

    def nodes(self, cpus: Sequence[int]) -> tuple[int, ...]:
        """The NUMA nodes of some CPUs."""
        return tuple(sorted({core.node for core in self.topology.cores if set(core.cpus) & set(cpus)}))

    def comments(self, *more: str) -> str:
        """What to know, as comments: what the settings are and where they come from, doubts, and `more`."""
        tuned = self.chosen.tuned
        measured, machine = tuned.measured, tuned.machine
        lines = [
            f"{self.name}, {self.chosen.mode}: {self.settings}",
            f"found {tuned.when} on {machine.get('cpu', 'an unknown CPU')}, {machine.get('cores', '?')} cores: "
            f"{measured.images_per_second:.1f} images/s, p50 {measured.p50_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms",
            *self.chosen.notes,
            *more,
        ]
        return "".join(f"# {line}\n" for line in lines)

    def package_note(self) -> list[str]:
        """What the image has to have."""
        package = PACKAGES.get(self.settings.allocator)
        return [f"the image needs the package {package}"] if package else []

    def session_note(self) -> list[str]:
        """What no variable says."""
        settings = self.settings
        wanted = [f"layout {settings.layout}"] * (settings.layout is not None)
        wanted += ["bfloat16"] * (settings.precision == "bf16")
        return [f"{' and '.join(wanted)}: acts where the program opens the model with eightfold.load"] if wanted else []

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "model": self.model and str(self.model),
            "file": str(place(self.chosen.source)),
            "mode": self.chosen.mode,
            "settings": self.settings.to_json(),
            "instances": [
                {"cpus": cpus, "environment": self.env_of(number)} for number, cpus in enumerate(self.places)
            ],
            "notes": list(self.chosen.notes),
        }


def assigned(name: str, value: str) -> str:
    """An assignment of a shell; what LD_PRELOAD holds already stays, behind the value."""
    others = f'"${{{name}:+:${name}}}"' if name == PRELOAD else ""
    return f"{name}={shlex.quote(value)}{others}"


def together(commands: Iterable[str]) -> str:
    """A subshell that runs commands at the same time, and ends with them.

    Its exit code is that of a command that failed, the last if several did. Interrupted or told to end it ends them
    all: a shell has what it starts with `&` ignore Ctrl-C.
    """
    started = [f"{command} & pid{number}=$!\n" for number, command in enumerate(commands)]
    names = [f"pid{number}" for number in range(len(started))]
    clean = f"  {' '.join(f'{name}=' for name in names)} code=0\n"
    kill = f"kill {' '.join(f'${name}' for name in names)} 2>/dev/null"
    trap = f"  trap 'trap - INT TERM HUP; {kill}; wait; exit 143' INT TERM HUP\n"
    waits = [f'  wait "${name}" || code=$?\n' for name in names]
    return "".join(["(\n", clean, trap, *(f"  {line}" for line in started), *waits, "  exit $code\n)\n"])


def wrapped(*words: str) -> str:
    """A command of a shell, each part on a line of its own."""
    return " \\\n  ".join(words) + "\n"


def heredoc(path: str, content: str, *, sudo: bool = False) -> str:
    """A command of a shell that writes a file."""
    writer = "sudo tee" if sudo else "cat >"
    target = f"{shlex.quote(path)} > /dev/null" if sudo else shlex.quote(path)
    return f"{writer} {target} <<'END'\n{content.rstrip()}\nEND\n"
