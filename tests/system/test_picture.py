"""The drawing of the cores."""

from __future__ import annotations

from eightfold.system.caches import Cache
from eightfold.system.picture import picture
from eightfold.system.topology import Core, Topology


def machine(sockets: int, cores: int, threads: int) -> tuple[Core, ...]:
    """Cores with a NUMA node for each socket; the second threads are numbered after all first ones."""
    count = sockets * cores
    return tuple(
        Core(tuple(core + count * thread for thread in range(threads)), core // cores, core // cores)
        for core in range(count)
    )


def test_a_small_machine() -> None:
    assert picture(Topology(machine(1, 2, 1))) == ["socket 0  node 0  █ █  CPUs 0-1"]


def test_a_part_of_two_sockets() -> None:
    cores = machine(2, 4, 2)
    own = (cores[0], Core((1,), 0, 0), cores[4])
    assert picture(Topology(own, machine=cores)) == [
        "socket 0  node 0  ██ █░ ░░ ░░  CPUs 0-3,8-11",
        "socket 1  node 1  ██ ░░ ░░ ░░  CPUs 4-7,12-15",
    ]


def test_cores_that_share_a_cache_stand_together() -> None:
    last = Cache(3, "Unified", 32 << 20, ((0, 2), (1, 3)))
    assert picture(Topology(machine(1, 4, 1)), [last]) == [
        "socket 0  node 0  L3 32 MiB  █ █  CPUs 0,2",
        "                  L3 32 MiB  █ █  CPUs 1,3",
    ]


def test_caches_of_single_cores_are_left_out() -> None:
    own = Cache(2, "Unified", 1 << 20, ((0,), (1,)))
    assert picture(Topology(machine(1, 2, 1)), [own]) == ["socket 0  node 0  █ █  CPUs 0-1"]


def test_long_rows_are_broken() -> None:
    last = Cache(3, "Unified", 32 << 20, (tuple(range(40)),))
    lines = picture(Topology(machine(1, 40, 1)), [last])
    assert [line.split("CPUs ")[1] for line in lines] == ["0-15", "16-31", "32-39"]
    assert ["L3" in line for line in lines] == [True, False, False]
    assert len({line.index("█") for line in lines}) == 1


def test_128_cores_are_drawn_and_more_are_counted() -> None:
    assert sum(line.count("█") for line in picture(Topology(machine(2, 64, 2)))) == 256
    cores = machine(2, 96, 2)
    assert picture(Topology(cores[:100], machine=cores)) == [
        "socket 0  node 0  96 of 96 cores  CPUs 0-95,192-287",
        "socket 1  node 1  4 of 96 cores   CPUs 96-191,288-383",
    ]


def test_a_process_without_cores() -> None:
    assert picture(Topology(())) == []
