"""What a measurement was taken on: a number without its machine and versions says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from eightfold.system.cpu_info import cpu_name
from eightfold.system.instructions import cpu_flags
from eightfold.system.memory import memory
from eightfold.system.topology import topology

__all__ = ["Machine", "this_machine"]

INT8_FLAGS = {
    "vnni": {"avx512_vnni", "avx_vnni"},
    "bf16": {"avx512_bf16"},
    "amx": {"amx_int8"},
    "avx512": {"avx512f"},
}
"""The instructions that decide how fast low precision is, under the kernel's names."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer: its CPU, what that can do, what of it this process may use, and its operating system.

    Attributes:
        cpu: its name.
        vnni, bf16, amx, avx512: whether it has these instructions.
        cores: physical cores that this process may use.
        memory_gb: 1e9 bytes that this process may use: the machine's, or the limit of its control group.
        kernel: operating system and release.
        python: version.
        load: the load average of the last minute, a hint to what else ran.
        threads: logical CPUs that this process may use; more than `cores` with hyperthreads. 0: not recorded.
        quota: CPU time that the control group allows for each second, in CPUs; `None` without a limit.
    """

    cpu: str
    vnni: bool
    bf16: bool
    amx: bool
    avx512: bool
    cores: int
    memory_gb: float
    kernel: str
    python: str
    load: float
    threads: int = 0
    quota: float | None = None

    def __str__(self) -> str:
        can = [name for name in ("avx512", "vnni", "bf16", "amx") if getattr(self, name)]
        cores = f"{self.cores} cores"
        if self.threads > self.cores:
            cores += f" ({self.threads} threads)"
        if self.quota is not None:
            cores += f", a quota of {self.quota:g} CPUs"
        return f"{self.cpu}, {cores}, {self.memory_gb:.0f} GB ({', '.join(can) or 'without VNNI'})"


def this_machine() -> Machine:
    """The machine that runs this process (Linux)."""
    flags, cores = cpu_flags(), topology()
    has = {name: bool(flags & names) for name, names in INT8_FLAGS.items()}
    return Machine(
        cpu=cpu_name(),
        cores=len(cores.cores),
        memory_gb=memory().usable / 1e9,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
        threads=len(cores.cpus),
        quota=cores.quota,
        **has,
    )
