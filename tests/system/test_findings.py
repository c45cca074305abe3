"""What each fact of a machine means, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_machine import Tree

from eightfold.system.caches import Cache
from eightfold.system.cgroup import Limits
from eightfold.system.finding import Finding
from eightfold.system.findings import findings, written_bytes
from eightfold.system.frequency import Frequency
from eightfold.system.host import Host
from eightfold.system.memory import Memory
from eightfold.system.survey import Survey, survey
from eightfold.system.topology import Core, Topology
from eightfold.system.variables import VARIABLES, meaning

CORES = tuple(Core((cpu, cpu + 8), cpu // 4, cpu // 4) for cpu in range(8))
PLAIN = Survey(
    cpu="a CPU",
    architecture="x86_64",
    kernel="Linux 6.1",
    flags=frozenset({"avx2", "avx512f", "avx512bw", "avx512_vnni"}),
    amx_permitted=False,
    topology=Topology(CORES[:4]),
    limits=Limits(),
    caches=(Cache(2, "Unified", 1 << 20, tuple(core.cpus for core in CORES)), Cache(3, "Unified", 32 << 20, ((0, 1),))),
    memory=Memory(64 << 30, huge_pages="always"),
    frequency=Frequency(2500.0, 3500.0, "performance"),
    host=Host(),
    allocators={},
    variables={},
)
"""One socket of four cores of two threads, with VNNI."""


def about(here: Survey, name: str) -> Finding:
    return next(one for one in findings(here) if one.name == name)


def names(here: Survey) -> list[str]:
    return [one.name for one in findings(here)]


def test_every_line_of_a_plain_machine_means_something() -> None:
    assert names(PLAIN) == [
        "CPU",
        "8 bits",
        "instructions",
        "cores",
        "quota",
        "caches",
        "memory",
        "huge pages",
        "clock",
        "allocators",
    ]
    assert all(one.meaning for one in findings(PLAIN)[1:])
    assert not [one for one in findings(PLAIN) if one.warning]


def test_no_vnni_is_7_bits() -> None:
    found = about(replace(PLAIN, flags=frozenset({"avx2"})), "8 bits")
    assert found == Finding(
        "8 bits",
        "AVX2",
        "AVX2 without VNNI saturates sums of two 8-bit products at 16 bits: weights have 7 bits; "
        "TensorFlow leaves oneDNN off on such a CPU: eightfold switches it on for itself, other programs need "
        "TF_ENABLE_ONEDNN_OPTS=1 before they import TensorFlow",
        warning=True,
    )
    asked = replace(PLAIN, flags=frozenset({"avx2"}), variables={"TF_ENABLE_ONEDNN_OPTS": "1"})
    assert about(asked, "8 bits").meaning.endswith("weights have 7 bits")


def test_another_architecture() -> None:
    here = replace(PLAIN, architecture="aarch64", cpu="Neoverse", flags=frozenset())
    assert about(here, "CPU").value == "Neoverse, aarch64"
    assert "8-bit kernels for x86-64 only" in about(here, "CPU").meaning
    assert "8 bits" not in names(here)


def test_bfloat16() -> None:
    assert "no bfloat16" in about(PLAIN, "instructions").meaning
    here = replace(PLAIN, flags=PLAIN.flags | {"avx512_bf16"})
    assert 'keep = "bf16"' in about(here, "instructions").meaning
    assert about(here, "instructions").value == "AVX2, AVX-512, AVX-512 VNNI, AVX-512 BF16"


@pytest.mark.parametrize(("permitted", "warning"), [(True, False), (False, True)])
def test_amx_counts_where_the_kernel_permits_it(permitted: bool, warning: bool) -> None:
    found = about(replace(PLAIN, flags=PLAIN.flags | {"amx_int8"}, amx_permitted=permitted), "AMX")
    assert found.warning is warning
    assert found.value == ("permitted by the kernel" if permitted else "not permitted")


def test_hyperthreads() -> None:
    found = about(PLAIN, "cores")
    assert found.value == "4 physical cores on 1 socket, 2 threads each"
    assert "one for each physical core, 4 in all" in found.meaning
    single = replace(PLAIN, topology=Topology((Core((0,), 0, 0),)))
    assert about(single, "cores").value == "1 physical core on 1 socket, 1 thread each"
    assert about(single, "cores").meaning == "1 thread can compute at a time"


def test_a_part_of_the_machine() -> None:
    found = about(replace(PLAIN, topology=Topology(CORES[:4], machine=CORES)), "affinity")
    assert found.value == "CPUs 0-3,8-11 of 0-15"
    assert "4 of 8 cores" in found.meaning


def test_numa() -> None:
    found = about(replace(PLAIN, topology=Topology(CORES[1:])), "NUMA")
    assert found.value == "2 nodes of 3, 4 cores"
    assert "NUMA" not in names(PLAIN)


def test_a_quota_below_the_cores() -> None:
    here = replace(PLAIN, topology=Topology(CORES[:4], 2.5), limits=Limits(2.5, throttled=0.123))
    found = about(here, "quota")
    assert found.value == "2.5 CPUs, used up in 12% of the periods so far"
    assert "use 2 threads in all, where TensorFlow by itself starts 8" in found.meaning
    assert found.warning


def test_a_quota_of_one_cpu() -> None:
    found = about(replace(PLAIN, topology=Topology(CORES[:4], 1.0)), "quota")
    assert found.value == "1 CPU"
    assert "use 1 thread in all" in found.meaning


def test_a_quota_above_the_cpus() -> None:
    found = about(replace(PLAIN, topology=Topology(CORES[:4], 16.0)), "quota")
    assert "no effect" in found.meaning
    assert not found.warning


def test_efficiency_cores() -> None:
    found = about(replace(PLAIN, topology=Topology(CORES, efficiency=(6, 7))), "efficiency cores")
    assert found.value == "CPUs 6-7"
    only = replace(PLAIN, topology=Topology(CORES[6:], efficiency=(6, 7, 14, 15)))
    assert "efficiency cores" not in names(only)


def test_caches() -> None:
    shared = Cache(3, "Unified", 32 << 20, ((0, 1, 2, 3, 8, 9, 10, 11),))
    here = replace(PLAIN, caches=(Cache(1, "Data", 49152, ((0, 8),)), Cache(1, "Instruction", 1, ((0, 8),)), shared))
    assert about(here, "caches").value == "L1d 48 KiB, L3 32 MiB for 4 cores"
    assert "up to about 32 MiB" in about(here, "caches").meaning
    assert "other virtual machines" in about(replace(here, host=Host("KVM")), "caches").meaning
    assert about(replace(PLAIN, caches=()), "caches").value == "unknown"


def test_the_memory_limit_of_a_container() -> None:
    found = about(replace(PLAIN, memory=Memory(64 << 30, limit=3 << 29)), "memory")
    assert found.value == "64 GiB, limit 1.5 GiB"
    assert found.warning
    assert about(replace(PLAIN, memory=Memory(1 << 30, limit=1 << 40)), "memory").value == "1 GiB"


@pytest.mark.parametrize(("chosen", "words"), [("always", "by themselves"), ("madvise", "ask"), ("never", "off")])
def test_huge_pages(chosen: str, words: str) -> None:
    assert words in about(replace(PLAIN, memory=Memory(1, huge_pages=chosen)), "huge pages").meaning


def test_no_huge_pages() -> None:
    assert "huge pages" not in names(replace(PLAIN, memory=Memory(1)))


def test_the_clock() -> None:
    assert about(PLAIN, "clock").value == "2.50 GHz now, up to 3.50 GHz, governor performance"
    slow = replace(PLAIN, frequency=Frequency(800.0, governor="powersave", boost=False))
    assert about(slow, "clock").value == "0.80 GHz now, governor powersave, no boost"
    assert "follows the load" in about(slow, "clock").meaning
    unknown = about(replace(PLAIN, frequency=Frequency()), "clock")
    assert unknown.value == "unknown"
    assert "in turns" in unknown.meaning


def test_virtual_machines() -> None:
    quiet = about(replace(PLAIN, host=Host("KVM", steal=0.001)), "host")
    assert quiet.value == "a virtual machine (KVM), 0.1% of the CPU time it wanted went to others"
    assert not quiet.warning
    assert about(replace(PLAIN, host=Host("KVM", steal=0.3)), "host").warning
    assert about(replace(PLAIN, host=Host("unknown")), "host").value == "a virtual machine"
    assert "host" not in names(PLAIN)


def test_containers() -> None:
    assert about(replace(PLAIN, host=Host(container="Docker")), "container").value == "Docker"


def test_allocators() -> None:
    assert "libtcmalloc-minimal4, libjemalloc2" in about(PLAIN, "allocators").meaning
    both = {"tcmalloc": Path("a.so"), "jemalloc": Path("b.so")}
    assert about(replace(PLAIN, allocators=both), "allocators").value == "tcmalloc, jemalloc"
    assert "not there" not in about(replace(PLAIN, allocators=both), "allocators").meaning


def test_variables_that_are_set() -> None:
    here = replace(PLAIN, variables={"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "3"})
    off, threads = (one for one in findings(here) if one.name == "variable")
    assert off.value == "TF_ENABLE_ONEDNN_OPTS=0"
    assert "oneDNN is switched off, and with it every 8-bit kernel" in off.meaning
    assert off.warning
    assert threads.meaning.startswith("3 threads inside an operation")
    assert not threads.warning


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_has_a_meaning(name: str) -> None:
    assert len(meaning(name, "1")) > 10
    assert "{" not in meaning(name, "1")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512, "512 bytes"),
        (49152, "48 KiB"),
        (1 << 20, "1 MiB"),
        (503316480, "480 MiB"),
        (1020 << 20, "1020 MiB"),
        (25 << 30, "25 GiB"),
        (3 << 29, "1.5 GiB"),
        (2 << 40, "2048 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert written_bytes(size) == text


def test_the_survey_of_a_made_up_machine(two_sockets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    here = survey(two_sockets.cpuinfo({"processor": 0, "flags": "avx2", "model name": "made up"}).root)
    assert (here.cpu, here.flags, here.topology.usable) == ("made up", {"avx2"}, 8)
    assert here.variables == {"OMP_NUM_THREADS": "4"}
    assert (here.allocators, here.caches, here.host) == ({}, (), Host())
    assert len(findings(here)) > 8


def test_the_survey_of_this_machine() -> None:
    assert {"CPU", "cores", "quota", "memory", "clock"} <= set(names(survey()))


def test_the_reference_names_every_variable() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/system.md").read_text(encoding="utf-8")
    assert [name for name in VARIABLES if f"`{name}`" not in page] == []
