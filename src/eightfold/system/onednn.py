"""oneDNN: TensorFlow uses it by itself on some CPUs, and on others only where it is asked to (ADR 16)."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Mapping

from eightfold.system.instructions import cpu_flags

__all__ = ["SWITCH", "X86", "asked_for", "inherited", "left_off", "onednn_off", "switch_on", "too_late"]

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
"""The environment variable that TensorFlow reads, once, while it is imported."""

X86 = ("x86_64", "AMD64")
"""What `platform.machine()` says on CPUs for which TensorFlow has 8-bit kernels."""

_BY_ITSELF = frozenset({"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"})
"""With one of these flags TensorFlow uses oneDNN unasked.

`DefaultOneDnnPolicy` in tensorflow/core/util/port.cc, for Linux on x86-64.
"""


def onednn_off(variables: Mapping[str, str]) -> bool:
    """Whether the variables forbid TensorFlow to use oneDNN."""
    return variables.get(SWITCH, "").lower() in ("0", "false")


def left_off(flags: Collection[str], architecture: str) -> bool:
    """Whether TensorFlow leaves oneDNN off, unless asked, on an x86-64 CPU with these flags."""
    return architecture in X86 and not _BY_ITSELF.intersection(flags)


def asked_for() -> dict[str, str]:
    """The variable with which a program uses oneDNN on this CPU.

    Returns:
        Nothing where TensorFlow uses it unasked, and where the user has forbidden it.
    """
    return {SWITCH: "1"} if left_off(cpu_flags(), platform.machine()) and not onednn_off(os.environ) else {}


def inherited() -> dict[str, str]:
    """The environment that processes of eightfold's own get: that of this process, with oneDNN asked for."""
    return {**asked_for(), **os.environ}


def switch_on() -> None:
    """Has TensorFlow use oneDNN in this process, where it is not imported yet and the user has said nothing."""
    if "tensorflow" not in sys.modules:
        os.environ.update({name: value for name, value in asked_for().items() if name not in os.environ})


def too_late() -> list[str]:
    """A sentence where TensorFlow was imported with oneDNN left off; none where it was not."""
    if "tensorflow" not in sys.modules or SWITCH in os.environ or not asked_for():
        return []
    return [
        "TensorFlow was imported without oneDNN, which it leaves off on CPUs without VNNI: float models are slower, "
        f"and 8-bit ones may not run; set {SWITCH}=1 before TensorFlow is imported"
    ]
