"""Caches, memory, clock, host, allocators and AMX, each from a made-up machine and from this one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_machine import Tree

from eightfold.system import allocators
from eightfold.system.allocators import installed
from eightfold.system.amx import amx_permitted
from eightfold.system.caches import Cache, caches
from eightfold.system.frequency import Frequency, frequency
from eightfold.system.host import Host, host
from eightfold.system.instructions import cpu_flags
from eightfold.system.kernel_files import number, text
from eightfold.system.memory import Memory, memory

HERE = Path("/")


def test_a_kernel_file_that_is_not_there_or_says_no_number(tree: Tree) -> None:
    tree.write({"one": "-12", "two": "max", "three": "<unsupported>"})
    assert [number(tree.root / name) for name in ("one", "two", "three", "four")] == [-12, None, None, None]
    assert text(tree.root / "two") == "max"
    assert text(tree.root / "four") is None
    assert text(tree.root) is None, "a folder answers a read with an error"


def test_caches_and_who_shares_them(tree: Tree) -> None:
    for cpu in range(4):
        for index, (level, kind, size, shared) in enumerate(
            [
                (1, "Data", "48K", cpu),
                (1, "Instruction", "32K", cpu),
                (2, "Unified", "2048K", cpu),
                (3, "Unified", "32M", "0-1" if cpu < 2 else "2-3"),
            ]
        ):
            at = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
            tree.write({f"{at}/level": level, f"{at}/type": kind, f"{at}/size": size, f"{at}/shared_cpu_list": shared})
    assert caches([0, 1, 2, 3], tree.root) == (
        Cache(1, "Data", 48 << 10, ((0,), (1,), (2,), (3,))),
        Cache(1, "Instruction", 32 << 10, ((0,), (1,), (2,), (3,))),
        Cache(2, "Unified", 2 << 20, ((0,), (1,), (2,), (3,))),
        Cache(3, "Unified", 32 << 20, ((0, 1), (2, 3))),
    )
    assert caches([0], tree.root)[-1].shared == ((0, 1),)


def test_caches_that_are_not_listed(tree: Tree) -> None:
    assert caches([0, 1], tree.root) == ()
    tree.write({"sys/devices/system/cpu/cpu0/cache/index0/level": 1})
    assert caches([0], tree.root) == ()


def test_memory_and_its_limit(tree: Tree) -> None:
    tree.write(
        {
            "proc/meminfo": "MemTotal:       1000 kB\nMemFree:  2 kB\nMemAvailable:    600 kB\nHugePages_Total:  0",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        }
    )
    assert memory(tree.root) == Memory(1000 << 10, None, 600 << 10, "madvise")
    tree.write(
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
            "sys/fs/cgroup/memory.max": 500 << 10,
        }
    )
    assert memory(tree.root).usable == 500 << 10
    assert memory(tree.write({"sys/fs/cgroup/memory.max": 5000 << 10}).root).usable == 1000 << 10


def test_memory_where_proc_does_not_say(tree: Tree) -> None:
    found = memory(tree.root)
    assert found.total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert (found.available, found.huge_pages) == (None, None)


def test_the_clock_of_bare_metal(tree: Tree) -> None:
    for cpu, now in ((0, 800000), (1, 3500000)):
        at = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        tree.write(
            {f"{at}/scaling_cur_freq": now, f"{at}/cpuinfo_max_freq": 4700000, f"{at}/scaling_governor": "powersave"}
        )
    assert frequency([0, 1], tree.root) == Frequency(3500.0, 4700.0, "powersave")
    assert frequency([0], tree.root).now == 800.0
    tree.write({"sys/devices/system/cpu/cpufreq/boost": 1})
    assert frequency([0], tree.root).boost is True
    tree.write({"sys/devices/system/cpu/intel_pstate/no_turbo": 1})
    assert frequency([0], tree.root).boost is False


def test_the_clock_of_a_virtual_machine(tree: Tree) -> None:
    tree.cpuinfo({"processor": 0, "cpu MHz": "2600.000"}, {"processor": 1, "cpu MHz": "2600.500"})
    assert frequency([0, 1], tree.root) == Frequency(now=2600.5)


def test_no_clock_at_all(tree: Tree) -> None:
    assert frequency([0], tree.root) == Frequency()


VIRTUAL = {"processor": 0, "flags": "fpu hypervisor"}
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({}, "unknown"),
        ({CLOCKS: "tsc kvm-clock acpi_pm"}, "KVM"),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2", CLOCKS: "kvm-clock tsc"}, "Amazon EC2"),
        ({"sys/class/dmi/id/sys_vendor": "VMware, Inc."}, "VMware"),
        ({"proc/version": "Linux version 5.15.90.1-microsoft-standard-WSL2"}, "WSL"),
    ],
)
def test_virtual_machines(tree: Tree, files: dict[str, str], name: str) -> None:
    assert host(tree.cpuinfo(VIRTUAL).write(files).root).hypervisor == name


def test_bare_metal(tree: Tree) -> None:
    """The maker of a real computer may be one of virtual machines, too."""
    tree.cpuinfo({"processor": 0, "flags": "fpu"}).write({"sys/class/dmi/id/sys_vendor": "Microsoft Corporation"})
    assert host(tree.root) == Host()


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({".dockerenv": ""}, "Docker"),
        ({"run/.containerenv": ""}, "Podman"),
        ({"proc/self/cgroup": "0::/kubepods.slice/pod1"}, "Kubernetes"),
        ({"proc/self/cgroup": "4:cpu:/docker/abc"}, "Docker"),
        ({"proc/self/cgroup": "0::/user.slice"}, None),
    ],
)
def test_containers(tree: Tree, files: dict[str, str], name: str | None) -> None:
    assert host(tree.write(files).root).container == name


def test_a_pod_knows_it_from_its_environment(monkeypatch: pytest.MonkeyPatch, tree: Tree) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert host(HERE).container == "Kubernetes"
    assert host(tree.root).container is None


def test_time_that_other_machines_took(tree: Tree) -> None:
    tree.write({"proc/stat": "cpu  600 0 300 5000 70 0 0 100 0 0\ncpu0 1 2 3"})
    assert host(tree.root).steal == pytest.approx(0.1)
    assert host(tree.write({"proc/stat": "cpu 1 2 3"}).root).steal is None
    assert host(tree.write({"proc/stat": "cpu 0 0 0 9 0 0 0 0 0 0"}).root).steal is None


def test_the_minimal_tcmalloc_comes_first(tree: Tree) -> None:
    tree.write(
        {
            "usr/lib64/libtcmalloc.so.4": "",
            "usr/local/lib/libtcmalloc_minimal.so.4.5.9": "",
            "usr/lib64/libtcmalloc_minimal_debug.so.4": "",
            "usr/lib64/libtcmalloc_and_profiler.so.4": "",
            "usr/lib/x86_64-linux-gnu/libjemalloc.so.2": "",
        }
    )
    assert installed(tree.root) == {
        "tcmalloc": tree.root / "usr/local/lib/libtcmalloc_minimal.so.4.5.9",
        "jemalloc": tree.root / "usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    }


def test_no_allocators(tree: Tree) -> None:
    assert installed(tree.root) == {}


def test_the_linkers_cache(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only libraries for this kind of program, and only such as are there."""
    tree.write({"opt/libjemalloc.so.2": "", "opt32/libtcmalloc_minimal.so.4": ""})
    listing = f"""3 libs found in cache
\tlibtcmalloc_minimal.so.4 (libc6) => {tree.root}/opt32/libtcmalloc_minimal.so.4
\tlibjemalloc.so.2 (libc6,x86-64) => {tree.root}/gone/libjemalloc.so.2
\tlibjemalloc.so.2 (libc6,x86-64, OS ABI: Linux 3.2.0) => {tree.root}/opt/libjemalloc.so.2
"""
    monkeypatch.setattr(allocators, "_cache", lambda: listing)
    monkeypatch.setattr(allocators, "_FOLDERS", ())
    assert installed() == {"jemalloc": tree.root / "opt/libjemalloc.so.2"}


def test_the_users_own_folder_comes_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write({"mine/libtcmalloc_minimal.so": "", "mine/libtcmalloc.so": ""})
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tree.root}/nowhere:{tree.root}/mine")
    assert installed()["tcmalloc"] == tree.root / "mine/libtcmalloc_minimal.so"


def test_what_ld_preload_cannot_hold_is_passed_over(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write({"a folder/libjemalloc.so.1": "", "mine/libjemalloc.so.2": ""})
    monkeypatch.chdir(tree.root)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tree.root}/a folder:mine:{tree.root}/mine")
    assert installed()["jemalloc"] == tree.root / "mine/libjemalloc.so.2"


def test_a_system_without_ldconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert allocators._cache() == ""


def test_what_is_installed_here_can_be_preloaded() -> None:
    for path in installed().values():
        program = [sys.executable, "-c", "print(open('/proc/self/maps').read())"]
        env = {**os.environ, "LD_PRELOAD": str(path)}
        run = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
        assert str(path.resolve()) in run.stdout, run.stderr


def test_amx_needs_the_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not amx_permitted() or "amx_tile" in cpu_flags()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not amx_permitted()


class Kernel:
    """A C library whose system call answers as an old kernel does, or a new one."""

    def __init__(self, failed: int, supported: int) -> None:
        self.failed, self.supported = failed, supported

    def syscall(self, _: int, __: int, place: object) -> int:
        place._obj.value = self.supported  # type: ignore[attr-defined]
        return self.failed


@pytest.mark.parametrize(("failed", "supported", "permitted"), [(-1, 0, False), (0, 0x2E7, False), (0, 0x602E7, True)])
def test_the_kernel_permits_amx(monkeypatch: pytest.MonkeyPatch, failed: int, supported: int, permitted: bool) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Kernel(failed, supported))
    assert amx_permitted() is permitted
