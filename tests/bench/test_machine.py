from __future__ import annotations

import os

from eightfold.bench.machine import parse_cpuinfo, this_machine

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


def test_reads_the_first_cpu() -> None:
    name, flags = parse_cpuinfo(CPUINFO)
    assert name == "Intel(R) Xeon(R) Platinum 8480+ (family 6, model 143)"
    assert flags == {"fpu", "avx2", "avx512f", "avx512_vnni", "amx_int8"}


def test_this_machine() -> None:
    machine = this_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.memory_gb > 0.1
    assert machine.kernel.startswith("Linux ")
    assert f"{machine.cores} cores" in str(machine)
