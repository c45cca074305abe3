"""The limits that control groups put on this process: what a container may use of its host.

Both versions are read, also mixed as systemd's hybrid mode does. A limit of any group around the one of this process
holds too, so all of them are read up to the mount point; what lies above that, a container cannot see.
See `man 7 cgroups` and the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eightfold.system import cpu_list
from eightfold.system.kernel_files import number, text

__all__ = ["Limits", "limits"]

_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2**63 where memory has no limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control groups allow.

    Attributes:
        quota: CPU time for each second, in CPUs: 1.5 is one and a half. `None` where there is no limit.
        memory: bytes, or `None`.
        cpus: the logical CPUs of the cpuset, or `None` where there is no cpuset controller.
        version: of the control groups that were read; `None` where there are none.
        throttled: the share of the periods (100 ms) so far in which the quota stopped the group; `None` without one.
    """

    quota: float | None = None
    memory: int | None = None
    cpus: tuple[int, ...] | None = None
    version: int | None = None
    throttled: float | None = None


@dataclass(frozen=True, slots=True)
class _Mount:
    """A hierarchy: where it is mounted, which of its groups that shows, and its controllers (none in version 2)."""

    place: Path
    shown: PurePosixPath
    controllers: frozenset[str]
    version: int


def limits(root: Path = Path("/")) -> Limits:
    """The limits on this process, read from the `/proc` and `/sys` below `root`."""
    groups = dict(_groups_of_process(root))
    mounts = list(_mounts(root))
    first, second = {}, []
    for mount in mounts:
        if mount.version == 2:
            second = _chain(mount, groups.get(""))
        else:
            first.update({name: _chain(mount, groups.get(name)) for name in mount.controllers})
    quotas = [(_quota_of_1(at), at) for at in first.get("cpu", ())] + [(_quota_of_2(at), at) for at in second]
    strictest = min(((quota, at) for quota, at in quotas if quota is not None), default=None)
    return Limits(
        quota=strictest and strictest[0],
        memory=_least([*map(_memory_of_1, first.get("memory", ())), *(number(at / "memory.max") for at in second)]),
        cpus=_cpus(first.get("cpuset", []), second),
        version=(1 if "cpu" in first else 2 if second else None),
        throttled=strictest and _throttled(strictest[1]),
    )


def _groups_of_process(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """The group of this process for each controller of version 1, and that of version 2 under the name ""."""
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, PurePosixPath(path)


def _mounts(root: Path) -> Iterator[_Mount]:
    """The hierarchies that are mounted; `man 5 proc_pid_mountinfo` has the fields."""
    for line in (text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" ", 2), "", ""][:3]
        if kind in ("cgroup", "cgroup2"):
            shown, place = (_unescaped(field) for field in before.split(" ")[3:5])
            names = frozenset(options.split(",")) if kind == "cgroup" else frozenset()
            yield _Mount(root / place.lstrip("/"), PurePosixPath(shown), names, 1 if kind == "cgroup" else 2)


def _unescaped(field: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, character)
    return field


def _chain(mount: _Mount, group: PurePosixPath | None) -> list[Path]:
    """The folders of the group and of those around it, the innermost first.

    A group outside of what the mount shows (a container that sees its host's path, or `/..` of a namespace) is taken
    to be the one that is mounted, as the container's own limits are there.
    """
    inside = group is not None and ".." not in group.parts and group.is_relative_to(mount.shown)
    parts = group.relative_to(mount.shown).parts if group is not None and inside else ()
    folders = [mount.place.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return [folder for folder in folders if folder.is_dir()]


def _quota_of_1(folder: Path) -> float | None:
    quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _quota_of_2(folder: Path) -> float | None:
    quota, _, period = (text(folder / "cpu.max") or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100_000)


def _throttled(folder: Path) -> float | None:
    """Both versions count the periods in which the group ran, and those that it did not get to the end of."""
    lines = (line.split() for line in (text(folder / "cpu.stat") or "").splitlines())
    counts = {line[0]: int(line[1]) for line in lines}
    return counts.get("nr_throttled", 0) / counts["nr_periods"] if counts.get("nr_periods") else None


def _memory_of_1(folder: Path) -> int | None:
    limit = number(folder / "memory.limit_in_bytes")
    return limit if limit is not None and limit < _NO_LIMIT else None


def _cpus(first: list[Path], second: list[Path]) -> tuple[int, ...] | None:
    """The innermost cpuset: it holds those around it already."""
    names = [(at, name) for at in first for name in ("cpuset.effective_cpus", "cpuset.cpus")]
    names += [(at, "cpuset.cpus.effective") for at in second]
    said = next((said for at, name in names if (said := text(at / name))), None)
    return cpu_list.parse(said) if said else None


def _least(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
