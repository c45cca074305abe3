"""The candidates of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated import cores

from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Mode
from eightfold.system.topology import Core, Topology
from eightfold.tuning.candidate import Candidate
from eightfold.tuning.request import _is_channels_first
from eightfold.tuning.space import CALLER_THREAD, Space, space_of

MACHINES = {
    "one core": cores(1),
    "two": cores(2),
    "six": cores(6),
    "hyperthreads": cores(4, threads=2),
    "two sockets": Topology(tuple(Core((i,), i // 28, i // 28) for i in range(56))),
    "a quota": Topology(cores(16).cores, quota=3.5),
    "more nodes than cores": Topology(tuple(Core((i,), i // 2, i // 2) for i in range(8)), quota=2.0),
}


def places(space: Space) -> set[tuple[int, int | None, int | None]]:
    found = (one.runtime for one in space.places(space.start))
    return {(how.instances, how.cores, how.intra) for how in found}


def changed(one: Candidate, other: Candidate) -> set[str]:
    names = ("batch_size", "instances", "cores", "intra", "inter", "env", "allocator", "layout", "precision")
    return {name for name in names if getattr(one.runtime, name) != getattr(other.runtime, name)}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_every_candidate_fits_the_machine(mode: Mode, machine: Topology) -> None:
    every = space_of(mode, machine, allocators=("system", "tcmalloc"), channels_first=True).everything()
    assert len(set(every)) == len(every)
    for one in every:
        assert len(cpus_of(one.runtime, machine)) == one.runtime.instances


def test_places_of_few_cores() -> None:
    assert places(space_of("throughput", cores(2))) == {(1, 2, 2), (2, 1, 1)}
    assert places(space_of("latency", cores(2))) == {(1, 2, 2), (1, 1, 1), (1, 2, 1)}  # the last: two side by side
    assert places(space_of("latency", cores(1))) == {(1, 1, 1)}


def test_a_model_in_bands_is_tried_with_a_thread_for_each() -> None:
    space = space_of("latency", cores(4), bands=2)
    side_by_side = [one.runtime for one in space.places(space.start) if one.runtime.inter == 2]
    assert [(how.instances, how.cores, how.intra) for how in side_by_side] == [(1, 2, 1)]
    assert CALLER_THREAD not in side_by_side[0].env
    assert space.start.runtime == side_by_side[0]
    assert (space_of("latency", cores(4)).start.runtime.inter or 0) < 2
    space = space_of("throughput", cores(4), bands=2)
    assert not [one for one in space.places(space.start) if (one.runtime.inter or 0) > 1]


def test_places_of_many_cores_are_few() -> None:
    assert len(places(space_of("throughput", cores(64)))) == 7
    assert (2, 28, 28) in places(space_of("throughput", MACHINES["two sockets"]))
    assert (1, 3, 3) in places(space_of("throughput", MACHINES["a quota"]))


def test_one_thread_wakes_nobody() -> None:
    for one in space_of("latency", cores(2)).places(space_of("latency", cores(2)).start):
        assert (CALLER_THREAD in one.runtime.env) == (one.runtime.intra != 1)


def test_a_switch_changes_one_setting() -> None:
    space = space_of("throughput", cores(4, threads=2), allocators=("system", "jemalloc"), channels_first=True)
    for axis in space.switches:
        same, *others = axis(space.start)
        assert same == space.start
        assert all(len(changed(space.start, other)) == 1 for other in others)


def test_only_what_is_there_is_tried() -> None:
    every = space_of("latency", cores(2), allocators=("system",)).everything()
    assert {one.runtime.allocator for one in every} == {"system"}
    assert {one.runtime.layout for one in every} == {None}
    assert {one.runtime.batch_size for one in every} == {1}
    more = space_of("latency", cores(2), env={"ONEDNN_MAX_CPU_ISA": "AVX2"}, batch_sizes=[4], channels_first=True)
    assert {one.runtime.env.get("ONEDNN_MAX_CPU_ISA") for one in more.everything()} == {None, "AVX2"}
    assert {one.runtime.layout for one in more.everything()} == {None, "NHWC"}
    assert {one.runtime.batch_size for one in more.everything()} == {4}


def test_forms_of_the_model() -> None:
    space = space_of("latency", cores(2), variants=("fp32", "bf16", "int8"), channels_first=True)
    every = space.everything()
    assert {(one.variant, one.runtime.precision) for one in every} == {
        ("fp32", "as is"),
        ("bf16", "bf16"),
        ("int8", "as is"),
    }
    assert space.start.variant == "int8"
    assert space.default.variant == "fp32"
    assert {one.variant for one in every if one.runtime.layout} == {"fp32", "bf16"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n\x0bdata_format\x12\x06\x12\x04NCHW", True),
        (b"\n\x0bdata_format\x12\x06\x12\x04NHWC", False),
        (b"\n\x0bdata_format\x12\x06string\x1a\x06\x12\x04NHWC:\x0c\n\n\x12\x04NHWC\x12\x04NCHW", False),  # may have it
        (b'key: "data_format"\n value {\n  s: "NCHW"\n }', True),
        (b"\n\x0bdata_format\x12\x06\x12\x04NCHW _FusedQuantizedConv2D", False),
    ],
)
def test_graphs_whose_layout_can_be_changed(tmp_path: Path, content: bytes, said: bool) -> None:
    (tmp_path / "net.pb").write_bytes(content)
    assert _is_channels_first(tmp_path / "net.pb") == said


def test_all_candidates_have_what_switches_onednn_on() -> None:
    space = space_of("throughput", cores(2), onednn={"TF_ENABLE_ONEDNN_OPTS": "1"})
    assert {one.runtime.env.get("TF_ENABLE_ONEDNN_OPTS") for one in space.everything()} == {"1"}
    assert space.default.runtime.env == {"TF_ENABLE_ONEDNN_OPTS": "1"}
