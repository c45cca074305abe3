from __future__ import annotations

import os

import pytest

from eightfold.bench.shares import Placement, on_socket, placed
from eightfold.errors import PlatformError
from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import Core, Topology, topology


def machine(nodes: int, cores: int, quota: float | None = None) -> Topology:
    """A socket for each NUMA node, two threads to a core."""
    total = nodes * cores
    return Topology(tuple(Core((n, n + total), n // cores, n // cores) for n in range(total)), quota)


def shares(wanted: Placement, mode: Mode, on: Topology) -> tuple[int, int | None, int | None, int | None]:
    runtime = placed(Runtime(), wanted, mode, on)
    cpus_of(runtime, on)  # what is chosen fits
    return runtime.instances, runtime.cores, runtime.intra, runtime.inter


def test_nothing_said_is_left_to_the_operating_system() -> None:
    tuned = Runtime(instances=3, cores=2, intra=1)
    assert placed(tuned, Placement(), "throughput", machine(2, 8)) is tuned
    assert shares(Placement(1), "throughput", machine(2, 8)) == (1, None, None, None)


@pytest.mark.parametrize(
    ("mode", "nodes", "cores", "expected"),
    [
        ("throughput", 1, 2, (1, 2, 2, 1)),
        ("throughput", 2, 28, (2, 28, 28, 1)),
        ("throughput", 4, 12, (4, 12, 12, 1)),
        ("latency", 1, 2, (1, 2, 2, 1)),
        ("latency", 2, 28, (14, 4, 4, 1)),
        ("latency", 1, 6, (1, 4, 4, 1)),
    ],
)
def test_auto_is_what_launch_scripts_take(
    mode: Mode, nodes: int, cores: int, expected: tuple[int, int, int, int]
) -> None:
    assert shares(Placement("auto"), mode, machine(nodes, cores)) == expected


def test_auto_fills_the_machine_with_instances_of_so_many_cores() -> None:
    assert shares(Placement("auto", cores=7), "throughput", machine(2, 28))[:2] == (8, 7)


def test_so_many_instances_share_the_cores() -> None:
    assert shares(Placement(3), "throughput", machine(1, 8))[:2] == (3, 2)
    assert shares(Placement(3, cores=1), "throughput", machine(1, 8))[:2] == (3, 1)
    assert shares(Placement(cores=4), "latency", machine(1, 8)) == (1, 4, 4, 1)


def test_numa_keeps_instances_inside_nodes() -> None:
    two = machine(2, 6)
    assert shares(Placement(numa=True), "throughput", two)[:2] == (2, 6)
    assert shares(Placement(1, numa=True), "latency", two)[:2] == (1, 6)
    assert shares(Placement(3, numa=True), "throughput", two)[:2] == (3, 3)
    runtime = placed(Runtime(), Placement(3, numa=True), "throughput", two)
    assert all(len({cpu // 6 for cpu in cpus or ()}) == 1 for cpus in cpus_of(runtime, two))


def test_a_quota_counts_and_not_the_cores_of_the_host() -> None:
    assert shares(Placement("auto"), "throughput", machine(2, 28, quota=4.0))[:2] == (2, 2)
    assert shares(Placement("auto"), "latency", machine(1, 28, quota=6.5))[:2] == (1, 4)


def test_what_is_said_of_threads_stays() -> None:
    runtime = placed(Runtime(intra=2, inter=3), Placement(2), "throughput", machine(1, 8))
    assert (runtime.cores, runtime.intra, runtime.inter) == (4, 2, 3)


def test_more_instances_than_cores_are_refused_when_they_are_placed() -> None:
    runtime = placed(Runtime(), Placement(3), "throughput", machine(1, 2))
    with pytest.raises(PlatformError, match="3 instances of 1 cores need 3 cores; this process may use 2"):
        cpus_of(runtime, machine(1, 2))


def test_a_socket_for_as_long_as_the_block_lasts() -> None:
    before = os.sched_getaffinity(0)
    here = topology()
    socket = here.sockets[0]
    with on_socket(socket):
        assert os.sched_getaffinity(0) == {cpu for core in here.cores if core.socket == socket for cpu in core.cpus}
    assert os.sched_getaffinity(0) == before
    with on_socket(None):
        assert os.sched_getaffinity(0) == before


def test_a_socket_that_is_not_there() -> None:
    said = "there is no socket 99 that this process may use; expected one of: "
    with pytest.raises(PlatformError, match=said), on_socket(99):
        pass
