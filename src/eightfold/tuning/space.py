"""What is searched: the settings that are worth trying on a machine, and where to begin.

A setting is here because it has changed the speed of a model that was measured; docs/adr/0010-tuning.md has the list
and what was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from eightfold.running.settings import Allocator, Mode, Precision, Runtime
from eightfold.system.topology import Topology
from eightfold.tuning.candidate import Candidate, Variant

__all__ = ["BATCH_SIZES", "Space", "space_of"]

BATCH_SIZES = (1, 4, 8, 32)
"""In throughput mode: what fits a cache, what fills the cores, and what large nets like."""
FAVOURED_BATCH = 8
FAVOURED_CORES = 4
"""Of an instance, in throughput mode, where there are many cores; Intel's model zoo takes as many."""

CALLER_THREAD = "TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD"
"""oneDNN computes a part of each operation in the thread that runs it, and does not wake two for nothing."""
INTER: tuple[int, int, None] = (-1, 1, None)
"""Operations in the calling thread; a pool of one thread; TensorFlow's choice. The first is best on most machines."""
ALLOCATORS: tuple[Allocator, ...] = ("tcmalloc", "jemalloc", "system")
"""The one that is best on most machines first."""

Axis: TypeAlias = "Callable[[Candidate], list[Candidate]]"
"""The candidates that differ from one in a single setting, itself included and first."""


@dataclass(frozen=True)
class Space:
    """The candidates of a machine, in a form that can be searched without trying all.

    Attributes:
        start: where the search begins: the settings that are best on most machines.
        default: TensorFlow as it comes, but with oneDNN on every CPU.
        variants: the forms of the model.
        places: instances and their cores.
        batches: batch sizes.
        switches: everything else: each is tried by itself on the best of the others.
    """

    start: Candidate
    default: Candidate
    variants: Axis
    places: Axis
    batches: Axis
    switches: tuple[Axis, ...]

    def everything(self) -> list[Candidate]:
        """All combinations, those of one process side by side, and TensorFlow as it comes."""
        found = {self.start: None}
        for axis in (self.variants, self.places, *self.switches, self.batches):
            found = dict.fromkeys(other for one in found for other in axis(one))
        return list(dict.fromkeys([*found, *self.batches(self.default)]))


def space_of(
    mode: Mode,
    machine: Topology,
    *,
    batch_sizes: Sequence[int] = (),
    variants: Sequence[Variant] = ("fp32",),
    allocators: Sequence[Allocator] = ("system",),
    channels_first: bool = False,
    bands: int = 1,
    env: Mapping[str, str] | None = None,
    onednn: Mapping[str, str] | None = None,
) -> Space:
    """The candidates for a machine.

    Args:
        mode: latency has one instance, and one batch size.
        machine: its cores.
        batch_sizes: to try; the default is 1 for latency, `BATCH_SIZES` for throughput.
        variants: the forms of the model to try, the one that is expected to be fastest last.
        allocators: those that are installed.
        channels_first: whether float convolutions of the model are NCHW: TensorFlow can bring them to NHWC, and on
            CPUs only that way.
        bands: of the image that the model computes side by side; for latency the search begins with as many operations
            at a time, each with one thread.
        env: environment variables to try, each by itself.
        onednn: those with which TensorFlow uses oneDNN here, where it does not by itself: all candidates have them.
    """
    sizes = tuple(dict.fromkeys(batch_sizes)) or ((1,) if mode == "latency" else BATCH_SIZES)
    batch_size = min(sizes, key=lambda size: abs(size - (1 if mode == "latency" else FAVOURED_BATCH)))
    places = _places(mode, machine, bands)
    installed = [name for name in ALLOCATORS if name in allocators]
    first = Runtime(
        batch_size=batch_size, inter=INTER[0], env={**(onednn or {}), CALLER_THREAD: "1"}, allocator=installed[0]
    )
    first = replace(first, precision=_precision(variants[-1]))
    start = _placed(Candidate(variants[-1], first), places[-1] if bands > 1 else _favoured(mode, places))
    return Space(
        start=start,
        default=Candidate(variants[0], Runtime(batch_size=batch_size, env=onednn or {})),
        variants=lambda one: _each(one, [_as(one, variant) for variant in variants]),
        places=lambda one: _each(one, [_placed(one, place) for place in places]),
        batches=lambda one: _each(one, [one.but(batch_size=size) for size in sizes]),
        switches=_switches(machine, installed, env or {}, channels_first=channels_first),
    )


def _places(mode: Mode, machine: Topology, bands: int) -> list[dict[str, int]]:
    """Instances and cores for each: one instance on ever more cores, or all cores for ever more instances."""
    doubled = [1 << power for power in range(machine.usable.bit_length()) if 1 << power < machine.usable]
    counts = {*doubled, machine.usable}
    if mode == "latency":
        pairs = [(1, cores) for cores in sorted(counts, reverse=True)]
    else:
        counts.add(min(len(machine.nodes), machine.usable))
        pairs = [(instances, machine.usable // instances) for instances in sorted(counts)]
    places = [{"instances": instances, "cores": cores, "intra": cores, "inter": INTER[0]} for instances, cores in pairs]
    if mode == "latency":
        # Operations side by side: what a model in bands was made for, and what suits branches.
        beside = bands if 1 < bands <= machine.usable else machine.usable
        places += [{"instances": 1, "cores": beside, "intra": 1, "inter": beside}] if beside > 1 else []
    return places


def _favoured(mode: Mode, places: Sequence[dict[str, int]]) -> dict[str, int]:
    """Few cores for an instance of many; for latency all, up to where waking threads costs more than they bring."""
    limit = 2 * FAVOURED_CORES if mode == "latency" else FAVOURED_CORES
    within = [place for place in places if place["cores"] <= limit and place["inter"] < 2]
    if mode == "latency":
        return max(within, key=lambda place: place["cores"])
    return within[-1] if len(places) <= 3 else within[0]


def _placed(one: Candidate, place: Mapping[str, int]) -> Candidate:
    """The candidate on some cores; where it has one thread, nobody is woken."""
    return one.but(**place).with_env(CALLER_THREAD, None if place["intra"] == 1 else "1")


def _switches(
    machine: Topology, allocators: Sequence[Allocator], env: Mapping[str, str], *, channels_first: bool
) -> tuple[Axis, ...]:
    """One function for each setting."""
    axes: list[Axis] = [
        lambda one: _each(one, [one.but(inter=count) for count in INTER]),
        lambda one: _each(one, [one.but(allocator=name) for name in allocators]),
        lambda one: _each(one, [one.but(cores=None)] if one.runtime.cores else []),
        _caller_thread,
        *(_variable(name, value) for name, value in env.items()),
    ]
    if machine.threads_per_core > 1:
        axes.append(_both_threads)
    if channels_first:
        axes.append(lambda one: _each(one, [one.but(layout="NHWC")] if one.variant != "int8" else []))
    return tuple(axes)


def _variable(name: str, value: str) -> Axis:
    return lambda one: _each(one, [one.with_env(name, value)])


def _caller_thread(one: Candidate) -> list[Candidate]:
    """Without the setting that spares a wake-up."""
    return _each(one, [one.with_env(CALLER_THREAD, None)] if CALLER_THREAD in one.runtime.env else [])


def _both_threads(one: Candidate) -> list[Candidate]:
    """Both hyperthreads of each core: seldom better, since they share the units that multiply."""
    cores = one.runtime.cores
    return [one] if cores is None or one.runtime.intra != cores else [one, one.but(intra=2 * cores)]


def _as(one: Candidate, variant: Variant) -> Candidate:
    return Candidate(variant, replace(one.runtime, precision=_precision(variant)))


def _precision(variant: Variant) -> Precision:
    return "bf16" if variant == "bf16" else "as is"


def _each(one: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    return list(dict.fromkeys([one, *others]))
