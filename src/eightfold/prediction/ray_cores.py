"""Cores of one machine, handed out to processes that know nothing of each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Runtime
from eightfold.system.topology import Topology

__all__ = ["Cores", "take"]

PATIENCE = 10.0
"""Seconds: a process that was killed holds its cores until the kernel has taken it down."""


@dataclass(slots=True)
class Cores:
    """The logical CPUs that were taken, or None where none were free.

    They are given back by `release`, or when the process ends, however it does.
    """

    cpus: tuple[int, ...] | None
    locks: list[int]

    def release(self) -> None:
        """Gives the cores back."""
        for lock in self.locks:
            os.close(lock)
        self.locks = []


def take(runtime: Runtime, machine: Topology, folder: Path | None = None, patience: float = PATIENCE) -> Cores:
    """Takes cores for one instance that no other process of this user has taken in this way.

    Ray counts CPUs and does not say which; several of its nodes may even be on one machine. So each core has a file,
    and who holds the lock on it has the core: the kernel opens the lock when the process dies.

    Args:
        runtime: its cores for each instance; where it leaves them to the operating system, none are taken.
        machine: the cores that there are.
        folder: where the files are; by default one of this user's in the folder for temporary files.
        patience: seconds to wait for cores. If all are still taken then, or there are fewer than an instance needs,
            the instance is not pinned: slower, with the same answers.

    Raises:
        OSError: the files cannot be made.
    """
    if runtime.cores is None or machine.usable < runtime.cores:
        return Cores(None, [])
    folder = folder or Path(tempfile.gettempdir(), f"eightfold-cores-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    places = [cpus for cpus in cpus_of(replace(runtime, instances=machine.usable // runtime.cores), machine) if cpus]
    until = time.monotonic() + patience
    while (taken := _first_free(places, folder)) is None:
        if time.monotonic() > until:
            return Cores(None, [])
        time.sleep(0.1)
    return taken


def _first_free(places: Sequence[tuple[int, ...]], folder: Path) -> Cores | None:
    for cpus in places:
        taken = Cores(cpus, [])
        for cpu in cpus:
            lock = os.open(folder / f"cpu-{cpu}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            taken.locks.append(lock)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                continue
            taken.release()
            break
        if taken.locks:
            return taken
    return None
