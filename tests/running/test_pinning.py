from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuned_models import machine

from eightfold.errors import PlatformError
from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Runtime


@pytest.mark.parametrize(
    ("settings", "sizes", "expected"),
    [
        ({}, (4,), (None,)),
        ({"instances": 3}, (2,), (None, None, None)),
        ({"cores": 2}, (4,), ((0, 1),)),
        ({"instances": 2, "cores": 1}, (2,), ((0,), (1,))),
        # One for each node, though both would fit into the first.
        ({"instances": 2, "cores": 2}, (4, 4), ((0, 1), (4, 5))),
        # The node with more room first; nobody straddles, though the cores in order would.
        ({"instances": 3, "cores": 2}, (3, 4), ((3, 4), (0, 1), (5, 6))),
        # Too large for any node.
        ({"cores": 6}, (4, 4), ((0, 1, 2, 3, 4, 5),)),
        # What is left over straddles; the others do not.
        ({"instances": 3, "cores": 2}, (3, 3), ((0, 1), (3, 4), (2, 5))),
    ],
)
def test_places(settings: dict[str, Any], sizes: tuple[int, ...], expected: object) -> None:
    assert cpus_of(Runtime(**settings), machine(*sizes)) == expected


def test_one_cpu_of_a_core_unless_the_settings_have_more_threads() -> None:
    two_each = machine(4, threads=2)
    assert cpus_of(Runtime(cores=2, intra=2), two_each) == ((0, 1),)
    assert cpus_of(Runtime(cores=2), two_each) == ((0, 1),)
    assert cpus_of(Runtime(cores=2, intra=4), two_each) == ((0, 1, 4, 5),)


def test_an_instance_over_several_nodes_stays_in_a_socket() -> None:
    two_sockets = machine(2, 3, 3, 3, sockets=2)
    (cpus,) = cpus_of(Runtime(cores=6), two_sockets)
    assert cpus == (5, 6, 7, 8, 9, 10)  # the second socket, whose nodes hold six


def test_more_cores_than_there_are() -> None:
    with pytest.raises(PlatformError, match="2 instances of 2 cores need 4 cores; this process may use 3"):
        cpus_of(Runtime(instances=2, cores=2), machine(3))
    with pytest.raises(PlatformError, match="may use 2"):
        cpus_of(Runtime(cores=3), machine(8, quota=2.5))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    instances=st.integers(1, 8),
    cores=st.integers(1, 8),
)
def test_cores_are_given_once_and_no_more_instances_straddle_than_must(
    sizes: list[int], instances: int, cores: int
) -> None:
    there = machine(*sizes)
    if instances * cores > there.usable:
        return
    shares = [share for share in cpus_of(Runtime(instances=instances, cores=cores), there) if share is not None]
    given_out = [cpu for share in shares for cpu in share]
    assert len(shares) == instances
    assert len(given_out) == len(set(given_out)) == instances * cores
    node_of = {core.cpus[0]: core.node for core in there.cores}
    whole = sum(len({node_of[cpu] for cpu in share}) == 1 for share in shares)
    assert whole == min(instances, sum(size // cores for size in sizes))
