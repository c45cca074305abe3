"""The machine that a measurement names."""

from __future__ import annotations

import os

from eightfold.bench.machine import Machine, this_machine

XEON = Machine("Xeon", True, True, True, True, 4, 64.0, "Linux 6.1", "3.11.7", 0.5)


def test_this_machine() -> None:
    machine = this_machine()
    assert machine.threads == len(os.sched_getaffinity(0)) >= machine.cores >= 1
    assert machine.memory_gb > 0.1
    assert machine.kernel.startswith("Linux ")
    assert f"{machine.cores} cores" in str(machine)


def test_its_line() -> None:
    assert str(XEON) == "Xeon, 4 cores, 64 GB (avx512, vnni, bf16, amx)"


def test_the_line_of_a_container_with_hyperthreads() -> None:
    plain = Machine("EPYC", False, False, False, False, 4, 8.0, "Linux 6.1", "3.11.7", 0.5, threads=8, quota=2.5)
    assert str(plain) == "EPYC, 4 cores (8 threads), a quota of 2.5 CPUs, 8 GB (without VNNI)"
