"""What the installed TensorFlow means for the speed of 8-bit models, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eightfold.system.finding import Finding
from eightfold.system.onednn import onednn_off
from eightfold.system.survey import Survey
from eightfold.system.variables import OPENMP
from eightfold.tf.build import Build, OneDnn

__all__ = ["build_findings"]

_SATURATING = ("sse41", "avx", "avx2", "avx512_core")
"""The instructions whose 8-bit sums saturate, as oneDNN calls them; those with VNNI or AMX have longer names."""

_RUNTIMES = {"threadpool": "TensorFlow's own (Eigen)", "OpenMP": "OpenMP", "TBB": "TBB", "sequential": "none"}


def build_findings(build: Build | None, here: Survey) -> tuple[Finding, ...]:
    """What was found out about TensorFlow on this machine; `None` is that it is not installed."""
    if build is None:
        means = "models can be neither quantized nor run here: pip install tensorflow-cpu (x86-64 Linux)"
        return (Finding("TensorFlow", "not installed", means, warning=True),)
    return (_tensorflow(build), *_onednn(build.onednn, here))


def _tensorflow(build: Build) -> Finding:
    if build.refusal:
        return Finding("TensorFlow", build.version, build.refusal, warning=True)
    ran = build.onednn.convolution if build.onednn else None
    how = f": a convolution ran as {ran}" if ran else ""
    return Finding("TensorFlow", build.version, f"it has working 8-bit kernels{how}")


def _onednn(onednn: OneDnn | None, here: Survey) -> Iterator[Finding]:
    if onednn is None:
        means = "this build has no oneDNN, and so no 8-bit kernels: expected a stock tensorflow or tensorflow-cpu"
        yield Finding("oneDNN", "none", means, warning=True)
        return
    yield Finding("oneDNN", f"{onednn.version}, {onednn.isa}", *_instructions(onednn, here))
    yield _threads(onednn, here.variables)


def _instructions(onednn: OneDnn, here: Survey) -> tuple[str, bool]:
    """What the instructions that it chose mean, and whether that is a warning."""
    if onednn_off(here.variables):
        return "TensorFlow does not use it as long as it is switched off", True
    limit = here.variables.get("ONEDNN_MAX_CPU_ISA") or here.variables.get("DNNL_MAX_CPU_ISA")
    saturates = onednn.convolution is not None and onednn.convolution.rpartition(":")[2] in _SATURATING
    if limit and saturates:
        means = f"kept to {limit}, where 8-bit sums saturate: use weights of 7 bits (weight_bits = 7 in a recipe)"
        return means, True
    if limit:
        return f"kept to {limit} by the environment", False
    if saturates:
        return "its 8-bit sums saturate at 16 bits: weights have 7 bits", True
    if "amx_int8" in here.flags and "AMX" not in onednn.isa:
        return "it does not use this CPU's AMX: the kernel does not permit it, or this version is too old", True
    return "it uses all that this CPU has for 8 bits", False


def _threads(onednn: OneDnn, variables: Mapping[str, str]) -> Finding:
    own = onednn.runtime == "threadpool"
    idle = [name for name in OPENMP if name in variables] if own else []
    if own:
        means = (
            "OMP_* and KMP_* have no effect, TF_NUM_INTRAOP_THREADS has; every operation is handed to the pool, which "
            "costs small models at batch 1 most: `eightfold tune` finds out what helps"
        )
    elif onednn.runtime == "OpenMP":
        means = "OMP_NUM_THREADS, KMP_AFFINITY and KMP_BLOCKTIME count; `eightfold tune` searches them"
    else:
        means = "one thread computes" if onednn.runtime == "sequential" else ""
    value = _RUNTIMES.get(onednn.runtime, onednn.runtime)
    if idle:
        value += f"; without effect: {', '.join(idle)}"
    return Finding("thread pool", value, means, warning=bool(idle))
