"""Whether the kernel lets programs use AMX: having the instructions is not enough."""

from __future__ import annotations

import ctypes
import platform
import sys

__all__ = ["amx_permitted"]

_ARCH_PRCTL = 158
_GET_SUPPORTED = 0x1021
_TILE_DATA = 1 << 18


def amx_permitted() -> bool:
    """Whether this kernel saves the tile registers of AMX and can permit them to a process.

    Each process must ask before its first use, which oneDNN does (ARCH_REQ_XCOMP_PERM); this only reads what could be
    asked for. Kernels before 5.16 and sandboxes that intercept system calls know nothing of it. See
    Documentation/arch/x86/xstate.rst of Linux.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    supported = ctypes.c_uint64(0)
    failed = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _GET_SUPPORTED, ctypes.byref(supported))
    return not failed and bool(supported.value & _TILE_DATA)
