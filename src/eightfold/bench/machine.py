"""What a measurement was taken on: a number without its machine and versions says nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "parse_cpuinfo", "this_machine"]

INT8_FLAGS = {
    "vnni": ("avx512_vnni", "avx_vnni"),
    "bf16": ("avx512_bf16",),
    "amx": ("amx_int8",),
}
"""The names under which the kernel lists the instructions that decide how fast low precision is."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer: its CPU, what that can do, the cores this process may use, memory and operating system.

    `load` is the load average of the last minute, as a hint to what else ran.
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

    def __str__(self) -> str:
        can = [name for name in ("avx512", "vnni", "bf16", "amx") if getattr(self, name)]
        return f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB ({', '.join(can) or 'no int8 help'})"


def this_machine() -> Machine:
    """The machine that runs this process (Linux)."""
    model, flags = parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    has = {name: any(flag in flags for flag in names) for name, names in INT8_FLAGS.items()}
    return Machine(
        cpu=model,
        avx512="avx512f" in flags,
        cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
        **has,
    )


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """The model name and the flags of the first CPU in the text of `/proc/cpuinfo`.

    Hypervisors hide the model name ("AMD EPYC"), so family and model numbers are put behind it.
    """
    first = text.split("\n\n", 1)[0]
    fields: Mapping[str, str] = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }
    name = fields.get("model name", platform.machine())
    numbers = f" (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else ""
    return name + numbers, frozenset(fields.get("flags", "").split())
