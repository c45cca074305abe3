"""Who else has a say: the hypervisor below this machine, and the container around this process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from eightfold.system.instructions import cpu_flags
from eightfold.system.kernel_files import text

__all__ = ["Host", "host"]

_MAKERS = {
    "QEMU": "QEMU",
    "Amazon EC2": "Amazon EC2",
    "Google": "Google Compute Engine",
    "Microsoft Corporation": "Hyper-V",
    "VMware, Inc.": "VMware",
    "innotek GmbH": "VirtualBox",
    "Xen": "Xen",
    "DigitalOcean": "DigitalOcean",
    "Alibaba Cloud": "Alibaba Cloud",
    "OpenStack Foundation": "OpenStack",
}
"""What the firmware of a virtual machine gives as the maker of the computer."""

_CLOCKS = {"kvm-clock": "KVM", "hyperv_clocksource_tsc_page": "Hyper-V", "xen": "Xen"}
"""Clocks that only the guests of a hypervisor have."""

_CONTAINERS = {
    "kubepods": "Kubernetes",
    "docker": "Docker",
    "libpod": "Podman",
    "lxc": "LXC",
    "containerd": "containerd",
}
"""Parts of the names that runtimes give to control groups."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where this system runs.

    Attributes:
        hypervisor: its name, "unknown" for one that does not show itself; `None` on bare metal, as far as can be seen.
        container: the kind of container, as far as it shows; `None` where nothing hints at one.
        steal: the share of the CPU time that this machine wanted since it started and that its hypervisor gave to
            others; `None` where it is not counted.
    """

    hypervisor: str | None = None
    container: str | None = None
    steal: float | None = None


def host(root: Path = Path("/")) -> Host:
    """Where this system runs, from the files below `root`."""
    return Host(_hypervisor(root), _container(root), _steal(root))


def _hypervisor(root: Path) -> str | None:
    if "microsoft" in (text(root / "proc/version") or "").lower():
        return "WSL"
    if "hypervisor" not in cpu_flags(root):
        return None
    maker = text(root / "sys/class/dmi/id/sys_vendor") or ""
    clocks = (text(root / "sys/devices/system/clocksource/clocksource0/available_clocksource") or "").split()
    named = (_CLOCKS[clock] for clock in clocks if clock in _CLOCKS)
    return _MAKERS.get(maker) or next(named, "unknown")


def _container(root: Path) -> str | None:
    if root == Path("/") and "KUBERNETES_SERVICE_HOST" in os.environ:
        return "Kubernetes"
    for mark, name in ((".dockerenv", "Docker"), ("run/.containerenv", "Podman")):
        if (root / mark).exists():
            return name
    groups = text(root / "proc/self/cgroup") or ""
    return next((name for part, name in _CONTAINERS.items() if part in groups), None)


def _steal(root: Path) -> float | None:
    """Field by field: user, nice, system, idle, iowait, irq, softirq, steal; see `man 5 proc_stat`."""
    first = (text(root / "proc/stat") or "").partition("\n")[0].split()[1:9]
    if len(first) < 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, first)
    wanted = user + nice + system + irq + softirq + steal
    return steal / wanted if wanted else None
