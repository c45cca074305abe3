"""Which cores a process has: by its machine, its affinity, its control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up_machine import Tree

from eightfold.system.topology import Core, Topology, topology


def test_two_sockets_with_hyperthreads(two_sockets: Tree) -> None:
    found = topology(two_sockets.root)
    assert found.cores[0] == Core((0, 8), 0, 0)
    assert found.cores[-1] == Core((7, 15), 1, 1)
    assert found.machine == found.cores
    assert (found.usable, found.threads_per_core, found.sockets, found.nodes) == (8, 2, (0, 1), (0, 1))
    assert found.cpus == tuple(range(16))
    assert found.quota is None


def test_affinity_leaves_cores_with_some_of_their_threads(two_sockets: Tree) -> None:
    found = topology(two_sockets.affinity("2-4,10").root)
    assert found.cores == (Core((2, 10), 0, 0), Core((3,), 0, 0), Core((4,), 1, 1))
    assert found.usable == 3
    assert len(found.machine) == 8
    assert found.threads_per_core == 2, "of the machine, whatever of it may be used"


def test_offline_cpus_are_no_cores(two_sockets: Tree) -> None:
    """The kernel lists them in the affinity of a process all the same."""
    found = topology(two_sockets.online("0-5,8-13").affinity("0-127").root)
    assert len(found.cores) == 6
    assert max(found.cpus) == 13


def test_a_thread_that_is_switched_off_leaves_its_core(two_sockets: Tree) -> None:
    found = topology(two_sockets.online("0-7").root)
    assert found.threads_per_core == 1
    assert found.usable == 8


def test_the_cpuset_of_a_container(two_sockets: Tree) -> None:
    two_sockets.write(
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
            "sys/fs/cgroup/cpuset.cpus.effective": "4-5,12-13",
        }
    )
    assert topology(two_sockets.root).cores == (Core((4, 12), 1, 1), Core((5, 13), 1, 1))


@pytest.mark.parametrize(
    ("quota", "usable"), [(None, 8), (0.5, 1), (1.0, 1), (1.5, 1), (3.9, 3), (8.0, 8), (12.0, 8), (0.01, 1)]
)
def test_the_quota_caps_the_cores(two_sockets: Tree, quota: float | None, usable: int) -> None:
    cores = topology(two_sockets.root).cores
    assert Topology(cores, quota).usable == usable


def test_a_quota_is_read(two_sockets: Tree) -> None:
    two_sockets.write(
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw",
            "sys/fs/cgroup/cpu.max": "150000 100000",
        }
    )
    found = topology(two_sockets.root)
    assert found.quota == 1.5
    assert (found.usable, len(found.cores)) == (1, 8)


def test_kernels_before_5_10(tree: Tree) -> None:
    for cpu in range(4):
        at = f"sys/devices/system/cpu/cpu{cpu}/topology"
        tree.write({f"{at}/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}", f"{at}/physical_package_id": 0})
    assert topology(tree.online("0-3").affinity("0-3").root).cores == (Core((0, 2), 0, 0), Core((1, 3), 0, 0))


def test_firmware_that_knows_no_package(tree: Tree) -> None:
    assert topology(tree.core([0], socket=-1).online("0").affinity("0").root).cores == (Core((0,), 0, 0),)


def test_without_sys_cpuinfo_says_what_shares_a_core(tree: Tree) -> None:
    tree.affinity("0-3").cpuinfo(
        *({"processor": cpu, "physical id": cpu // 2, "core id": 0, "flags": "fpu"} for cpu in range(4))
    )
    assert topology(tree.root).cores == (Core((0, 1), 0, 0), Core((2, 3), 1, 0))


def test_without_anything_each_cpu_is_a_core(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a sandbox like gVisor, whose `/proc` says nothing of the affinity either."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    tree.cpuinfo(*({"processor": cpu, "flags": "fpu"} for cpu in range(3)))
    found = topology(tree.root)
    assert found.cores == (Core((0,), 0, 0), Core((1,), 0, 0), Core((2,), 0, 0))
    assert (found.usable, found.quota) == (3, None)


def test_a_system_without_affinity(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert topology(tree.root).usable == 2


def test_two_kinds_of_cores(two_sockets: Tree) -> None:
    assert topology(two_sockets.root).efficiency == ()
    assert topology(two_sockets.write({"sys/devices/cpu_atom/cpus": "12-15"}).root).efficiency == (12, 13, 14, 15)


def test_more_cores_than_the_affinity_allows_are_never_promised() -> None:
    assert Topology(()).usable == 1
    assert Topology((Core((0,), 0, 0),), quota=4.0).usable == 1


def test_this_machine() -> None:
    found = topology(Path("/"))
    assert set(found.cpus) == os.sched_getaffinity(0)
    assert 1 <= found.usable <= len(found.cores)
    assert set(found.cpus) <= {cpu for core in found.machine for cpu in core.cpus}


def test_pinning_this_process_takes_cores_away() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert topology().cpus == (min(before),)
    finally:
        os.sched_setaffinity(0, before)
