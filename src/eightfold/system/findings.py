"""What a machine means for the speed of 8-bit models, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from eightfold.system import cpu_list
from eightfold.system.allocators import PACKAGES
from eightfold.system.caches import Cache
from eightfold.system.finding import Finding
from eightfold.system.instructions import extensions, fastest
from eightfold.system.onednn import SWITCH, X86, left_off
from eightfold.system.survey import Survey
from eightfold.system.variables import meaning

__all__ = ["findings", "written_bytes"]

_STOLEN = 0.02
"""The share of time taken by other machines from which on figures are doubtful."""


def findings(here: Survey) -> tuple[Finding, ...]:
    """What was found and what it means, the CPU first."""
    return tuple(line for about in _ABOUT for line in about(here))


def written_bytes(size: int) -> str:
    """A size in binary units, as memory and caches are sold: "48 KiB", "1.5 GiB"."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.3g} {unit}" if size < 1000 << bits else f"{size >> bits} {unit}"
    return f"{size} bytes"


def _cpu(here: Survey) -> Iterator[Finding]:
    if here.architecture not in X86:
        means = "TensorFlow has 8-bit kernels for x86-64 only: models can be planned here, not run in 8 bits"
        yield Finding("CPU", f"{here.cpu}, {here.architecture}", means, warning=True)
        return
    yield Finding("CPU", here.cpu)
    best = fastest(here.flags)
    means = best.meaning
    if left_off(here.flags, here.architecture) and SWITCH not in here.variables:
        means += (
            "; TensorFlow leaves oneDNN off on such a CPU: eightfold switches it on for itself, other programs need "
            f"{SWITCH}=1 before they import TensorFlow"
        )
    yield Finding("8 bits", best.name, means, warning=not best.exact)


def _extensions(here: Survey) -> Iterator[Finding]:
    has = extensions(here.flags)
    in_bfloat16 = {"AVX-512 BF16", "AMX BF16"} & set(has)
    means = (
        'bfloat16 is multiplied as it is: what stays out of 8 bits can be kept in it (keep = "bf16")'
        if in_bfloat16
        else "no bfloat16: what stays out of 8 bits is float32"
    )
    yield Finding("instructions", ", ".join(has) or "none of those that matter", means)
    if "amx_int8" not in here.flags:
        return
    if here.amx_permitted:
        means = "up to 8 times the 8-bit products of VNNI in a cycle: large convolutions and matrix products gain most"
        yield Finding("AMX", "permitted by the kernel", means)
    else:
        means = "the kernel lets no program use AMX: oneDNN falls back to AVX-512; Linux 5.16 or newer would permit it"
        yield Finding("AMX", "not permitted", means, warning=True)


def _cores(here: Survey) -> Iterator[Finding]:
    at = here.topology
    own, threads = len(at.cores), at.threads_per_core
    value = f"{_count(own, 'physical core')} on {_count(len(at.sockets), 'socket')}, {_count(threads, 'thread')} each"
    means = f"{_count(own, 'thread')} can compute at a time"
    if threads > 1:
        means = f"threads of one core share the units that multiply: use one for each physical core, {own} in all"
    yield Finding("cores", value, means)
    if own < len(at.machine):
        everything = [cpu for core in at.machine for cpu in core.cpus]
        means = f"this process runs on {own} of {len(at.machine)} cores; more threads than that take turns on them"
        yield Finding("affinity", f"CPUs {cpu_list.write(at.cpus)} of {cpu_list.write(everything)}", means)
    slow = set(at.efficiency) & set(at.cpus)
    if slow and len(slow) < len(at.cpus):
        means = (
            "slower than the others, which wait for them where they share an operation: pin each instance to one kind"
        )
        yield Finding("efficiency cores", f"CPUs {cpu_list.write(slow)}", means, warning=True)
    if len(at.nodes) > 1:
        each = ", ".join(str(sum(core.node == node for core in at.cores)) for node in at.nodes)
        means = "memory of another node is slower: pin each instance to one node, and run at least one instance on each"
        yield Finding("NUMA", f"{len(at.nodes)} nodes of {each} cores", means)


def _quota(here: Survey) -> Iterator[Finding]:
    at = here.topology
    if at.quota is None:
        yield Finding("quota", "none", "all of these cores can be used all of the time")
        return
    stopped = here.limits.throttled
    value = f"{_count(at.quota, 'CPU')}"
    value += f", used up in {stopped:.0%} of the periods so far" if stopped else ""
    if at.quota >= len(at.cpus):
        yield Finding("quota", value, "no less than the CPUs that there are: it has no effect")
        return
    means = (
        f"threads beyond the quota are stopped for the rest of each period (100 ms): use {_count(at.usable, 'thread')} "
        f"in all, where TensorFlow by itself starts {len(at.cpus)}"
    )
    yield Finding("quota", value, means, warning=True)


def _caches(here: Survey) -> Iterator[Finding]:
    shown = [cache for cache in here.caches if cache.kind != "Instruction"]
    if not shown:
        yield Finding("caches", "unknown", "the kernel does not list them here")
        return
    last = shown[-1]
    means = (
        f"weights of up to about {written_bytes(last.size)} stay in the last one from image to image; in 8 bits they "
        "take a quarter of the room"
    )
    if here.host.hypervisor:
        means += "; other virtual machines may use the same cache"
    yield Finding("caches", ", ".join(_cache(here, cache) for cache in shown), means)


def _cache(here: Survey, cache: Cache) -> str:
    """As "L3 32 MiB for 8 cores": caches of one core say nothing of it."""
    most = max(cache.shared, key=len)
    cores = sum(bool(set(core.cpus) & set(most)) for core in here.topology.machine)
    name = f"L{cache.level}{'d' if cache.kind == 'Data' else ''} {written_bytes(cache.size)}"
    return name if cores <= 1 else f"{name} for {cores} cores"


def _memory(here: Survey) -> Iterator[Finding]:
    has = here.memory
    value = written_bytes(has.total)
    if has.limit is not None and has.limit < has.total:
        means = "the kernel ends the process that goes beyond the limit; each instance holds the model once more"
        yield Finding("memory", f"{value}, limit {written_bytes(has.limit)}", means, warning=True)
    else:
        yield Finding("memory", value, "each instance holds the model once more")


def _huge_pages(here: Survey) -> Iterator[Finding]:
    means = {
        "always": "large tensors get huge pages by themselves: fewer misses of the TLB with large batches",
        "madvise": "only for programs that ask, which TensorFlow does not: GLIBC_TUNABLES=glibc.malloc.hugetlb=1 "
        "(glibc 2.35) or jemalloc with MALLOC_CONF=thp:always ask for it; large batches may gain",
        "never": "switched off by the administrator: large batches miss the TLB more often",
    }
    chosen = here.memory.huge_pages
    if chosen in means:
        yield Finding("huge pages", chosen, means[chosen])


def _clock(here: Survey) -> Iterator[Finding]:
    clock = here.frequency
    now = f"{clock.now / 1000:.2f} GHz now" if clock.now else "unknown"
    rest = [f"up to {clock.highest / 1000:.2f} GHz"] if clock.highest else []
    rest += [f"governor {clock.governor}"] if clock.governor else []
    rest += ["no boost"] if clock.boost is False else []
    value = ", ".join([now, *rest])
    if clock.governor in ("powersave", "conservative", "schedutil", "ondemand"):
        means = "the clock follows the load, late, so that figures vary; the governor performance keeps it high"
    elif clock.governor:
        means = "the clock is as high as heat and the number of busy cores allow"
    else:
        means = "nothing here says what the clock does under load: measure models in turns, not one after the other"
    yield Finding("clock", value, means)


def _host(here: Survey) -> Iterator[Finding]:
    below = here.host
    if below.hypervisor:
        steal = below.steal
        name = f"a virtual machine ({below.hypervisor})" if below.hypervisor != "unknown" else "a virtual machine"
        value = name if steal is None else f"{name}, {steal:.1%} of the CPU time it wanted went to others"
        means = (
            "its CPUs may be hyperthreads of the host, and others there make figures wobble: measure in turns, with "
            "repeats, as `eightfold benchmark` does"
        )
        yield Finding("host", value, means, warning=steal is not None and steal > _STOLEN)
    if below.container:
        yield Finding("container", below.container, "its limits count, not the cores and memory of the host")


def _allocators(here: Survey) -> Iterator[Finding]:
    missing = [package for name, package in PACKAGES.items() if name not in here.allocators]
    means = "each can replace the C library's: `eightfold tune` finds out whether a model gains"
    if missing:
        means += f"; not there: {', '.join(missing)} (Debian and Ubuntu)"
    yield Finding("allocators", ", ".join(here.allocators) or "only the C library's", means)


def _variables(here: Survey) -> Iterator[Finding]:
    for name, value in here.variables.items():
        means = meaning(name, value)
        yield Finding("variable", f"{name}={value}", means, warning="8-bit" in means)


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")


_ABOUT: tuple[Callable[[Survey], Iterable[Finding]], ...] = (
    _cpu,
    _extensions,
    _cores,
    _quota,
    _caches,
    _memory,
    _huge_pages,
    _clock,
    _host,
    _allocators,
    _variables,
)
