"""Limits of control groups, of both versions, alone and one inside the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_machine import Tree

from eightfold.system.cgroup import Limits, limits

V2 = "30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw master:11 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 {shown} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 {shown} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
"""


def second(tree: Tree, group: str, shown: str = "/") -> Tree:
    return tree.write({"proc/self/cgroup": f"0::{group}", "proc/self/mountinfo": V2.format(shown=shown)})


def first(tree: Tree, group: str, shown: str = "/") -> Tree:
    groups = f"4:memory:{group}\n3:cpuset:{group}\n2:cpu,cpuacct:{group}\n1:name=systemd:/"
    return tree.write({"proc/self/cgroup": groups, "proc/self/mountinfo": V1.format(shown=shown)})


def test_no_control_groups(tree: Tree) -> None:
    assert limits(tree.root) == Limits()


def test_version_2_of_a_container(tree: Tree) -> None:
    """Its own namespace: the group of the process is the root."""
    second(tree, "/").write(
        {
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory.max": 2 << 30,
            "sys/fs/cgroup/cpuset.cpus.effective": "0-1,4",
            "sys/fs/cgroup/cpu.stat": "usage_usec 1\nnr_periods 40\nnr_throttled 10\nthrottled_usec 5",
        }
    )
    assert limits(tree.root) == Limits(1.5, 2 << 30, (0, 1, 4), version=2, throttled=0.25)


def test_version_2_without_limits(tree: Tree) -> None:
    second(tree, "/").write({"sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "max"})
    assert limits(tree.root) == Limits(version=2)


def test_the_strictest_of_nested_groups_counts(tree: Tree) -> None:
    """A group may be given more than the one around it has."""
    second(tree, "/kubepods/pod1/box").write(
        {
            "sys/fs/cgroup/kubepods/cpu.max": "800000 100000",
            "sys/fs/cgroup/kubepods/memory.max": 1 << 30,
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "200000 100000",
            "sys/fs/cgroup/kubepods/pod1/memory.max": "max",
            "sys/fs/cgroup/kubepods/pod1/box/cpu.max": "400000 100000",
            "sys/fs/cgroup/kubepods/pod1/box/memory.max": 4 << 30,
        }
    )
    found = limits(tree.root)
    assert (found.quota, found.memory) == (2.0, 1 << 30)


def test_another_period(tree: Tree) -> None:
    assert limits(second(tree, "/").write({"sys/fs/cgroup/cpu.max": "25000 10000"}).root).quota == 2.5
    assert limits(tree.write({"sys/fs/cgroup/cpu.max": "300000"}).root).quota == 3.0


def test_version_1(tree: Tree) -> None:
    first(tree, "/docker/abc").write(
        {
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": 350000,
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.stat": "nr_periods 0\nnr_throttled 0",
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": 3 << 30,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
            "sys/fs/cgroup/cpuset/docker/abc/cpuset.cpus": "2-3",
        }
    )
    assert limits(tree.root) == Limits(3.5, 3 << 30, (2, 3), version=1)


def test_version_1_without_limits(tree: Tree) -> None:
    first(tree, "/").write(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
        }
    )
    assert limits(tree.root) == Limits(version=1)


def test_a_container_that_sees_the_path_of_its_host(tree: Tree) -> None:
    """Version 1 without a namespace: what is mounted is the container's group, whose path is the host's."""
    first(tree, "/docker/abc/inner", shown="/docker/abc").write(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": 200000,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": 50000,
            "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": 100000,
        }
    )
    assert limits(tree.root).quota == 0.5


@pytest.mark.parametrize("group", ["/../../other", "/system.slice/elsewhere"])
def test_a_group_that_is_not_mounted(tree: Tree, group: str) -> None:
    second(tree, group, shown="/box").write({"sys/fs/cgroup/cpu.max": "100000 100000"})
    assert limits(tree.root).quota == 1.0


def test_the_hybrid_of_both_versions(tree: Tree) -> None:
    """As systemd sets it up: controllers of version 1, and version 2 with none of them beside."""
    first(tree, "/")
    mounts = (tree.root / "proc/self/mountinfo").read_text()
    groups = (tree.root / "proc/self/cgroup").read_text()
    tree.write(
        {
            "proc/self/cgroup": f"{groups}0::/user.slice",
            "proc/self/mountinfo": f"{mounts}35 31 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            "sys/fs/cgroup/unified/user.slice/cgroup.procs": 1,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": 120000,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100000,
        }
    )
    assert limits(tree.root) == Limits(1.2, version=1)


def test_a_mount_point_with_a_space(tree: Tree) -> None:
    tree.write(
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": r"30 23 0:26 / /mnt/my\040groups rw - cgroup2 none rw",
            "mnt/my groups/cpu.max": "100000 100000",
        }
    )
    assert limits(tree.root).quota == 1.0


def test_this_machine() -> None:
    found = limits(Path("/"))
    assert found.quota is None or found.quota > 0
    assert found.memory is None or found.memory > 1 << 20
