"""How fast the clock of the cores is, and who decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eightfold.system.cpu_info import processors
from eightfold.system.kernel_files import number, text

__all__ = ["Frequency", "frequency"]


@dataclass(frozen=True, slots=True)
class Frequency:
    """Clock frequencies in MHz; `None` is what the kernel does not say, as in most virtual machines.

    Attributes:
        now: of the fastest core at this moment.
        highest: that a core can reach.
        governor: what chooses: "performance", "powersave", "schedutil", ...
        boost: whether cores may go above their base frequency while others rest.
    """

    now: float | None = None
    highest: float | None = None
    governor: str | None = None
    boost: bool | None = None


def frequency(cpus: Iterable[int], root: Path = Path("/")) -> Frequency:
    """The frequency of these CPUs, from the `/proc` and `/sys` below `root`."""
    folders = [root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    now = [kilohertz for at in folders if (kilohertz := number(at / "scaling_cur_freq"))]
    highest = [kilohertz for at in folders if (kilohertz := number(at / "cpuinfo_max_freq"))]
    governors = {name for at in folders if (name := text(at / "scaling_governor"))}
    return Frequency(
        now=max(now) / 1000 if now else _listed(root),
        highest=max(highest) / 1000 if highest else None,
        governor=", ".join(sorted(governors)) or None,
        boost=_boost(root / "sys/devices/system/cpu"),
    )


def _listed(root: Path) -> float | None:
    """What `/proc/cpuinfo` says: the frequency now, or in a virtual machine the nominal one."""
    said = [fields["cpu MHz"] for fields in processors(root).values() if "cpu MHz" in fields]
    return max(map(float, said), default=None)


def _boost(folder: Path) -> bool | None:
    """Intel's driver has a switch for "no turbo", all others one for "boost"."""
    forbidden, allowed = number(folder / "intel_pstate/no_turbo"), number(folder / "cpufreq/boost")
    if forbidden is not None:
        return not forbidden
    return None if allowed is None else bool(allowed)
