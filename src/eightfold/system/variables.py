"""Environment variables that change how a model runs, and how."""

from __future__ import annotations

from eightfold.system.onednn import SWITCH, onednn_off

__all__ = ["OPENMP", "VARIABLES", "meaning"]

OPENMP = ("OMP_NUM_THREADS", "KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_SETTINGS", "GOMP_CPU_AFFINITY", "MKL_NUM_THREADS")
"""Those that only a TensorFlow built with OpenMP reads."""

_ISA = "oneDNN uses no instructions above {}, whatever the CPU has"
_MATH = "oneDNN may compute float32 operations in {}"
_LOG = "oneDNN writes a line for all that it computes, which takes time: unset it"

VARIABLES = {
    SWITCH: "TensorFlow uses oneDNN, and with it the 8-bit kernels, on any CPU",
    "TF_NUM_INTRAOP_THREADS": "{} threads inside an operation, unless a program chooses otherwise",
    "TF_NUM_INTEROP_THREADS": "{} operations at a time, unless a program chooses otherwise",
    "TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1: the thread that starts an operation computes too; small ones gain",
    "ONEDNN_MAX_CPU_ISA": _ISA,
    "DNNL_MAX_CPU_ISA": _ISA,
    "ONEDNN_CPU_ISA_HINTS": "oneDNN is told to prefer {}: with PREFER_YMM, vectors of half the width",
    "ONEDNN_DEFAULT_FPMATH_MODE": _MATH,
    "DNNL_DEFAULT_FPMATH_MODE": _MATH,
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "oneDNN keeps {} prepared operations; a model of more prepares them anew",
    "ONEDNN_VERBOSE": _LOG,
    "DNNL_VERBOSE": _LOG,
    **dict.fromkeys(OPENMP, "read by OpenMP only"),
    "LD_PRELOAD": "libraries that replace others, an allocator perhaps",
    "MALLOC_CONF": "settings of jemalloc, where that is loaded",
    "GLIBC_TUNABLES": "settings of the C library, its allocator among them",
    "MALLOC_ARENA_MAX": "at most {} heaps of the C library's allocator",
}
"""Names, in the order in which they are shown, and what each means; {} is the value."""


def meaning(name: str, value: str) -> str:
    """What a variable of `VARIABLES` with this value means, in words."""
    if onednn_off({name: value}):
        return "oneDNN is switched off, and with it every 8-bit kernel: 8-bit models do not run; unset it"
    return VARIABLES[name].format(value)
