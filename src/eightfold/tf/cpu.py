"""What this CPU and this TensorFlow build can do in 8 bits, and in bfloat16."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from eightfold.errors import ModelError, PlatformError
from eightfold.graph.encoding import Code, Encoding
from eightfold.graph.ir import Graph, Ref, Shape
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.kernels import CONV, fused_conv
from eightfold.rewrites.weights import quantize_weight
from eightfold.tf.session import Runner

__all__ = [
    "INSTRUCTION_SETS",
    "InstructionSet",
    "cpu_flags",
    "has_bfloat16",
    "instruction_set",
    "require_bfloat16",
    "require_int8_kernels",
    "weight_bits",
]


@dataclass(frozen=True)
class InstructionSet:
    """How a CPU multiplies 8-bit numbers.

    Attributes:
        name: as its maker calls it.
        flag: what Linux lists for it.
        exact: whether products are summed in 32 bits at once. Otherwise two are summed in 16 bits first, with
            saturation (VPMADDUBSW).
    """

    name: str
    flag: str
    exact: bool

    @property
    def weight_bits(self) -> int:
        """Bits of a weight: two products of 255 · 127 do not fit 16 bits, two of 255 · 63 do."""
        return 8 if self.exact else 7

    @property
    def meaning(self) -> str:
        """What it means for a model in 8 bits, in words."""
        if self.exact:
            return f"{self.name} sums 8-bit products in 32 bits: weights have 8 bits"
        return f"{self.name} without VNNI saturates sums of two 8-bit products at 16 bits: weights have 7 bits"


INSTRUCTION_SETS = (
    InstructionSet("AMX", "amx_int8", exact=True),
    InstructionSet("AVX-512 VNNI", "avx512_vnni", exact=True),
    InstructionSet("AVX-VNNI", "avx_vnni", exact=True),
    InstructionSet("AVX-512", "avx512bw", exact=False),
    InstructionSet("AVX2", "avx2", exact=False),
    InstructionSet("SSE4.1", "sse4_1", exact=False),
)
"""What the 8-bit kernels of oneDNN are written for, the fastest first."""

_UNKNOWN = InstructionSet("an unknown CPU", "", exact=False)
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@lru_cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets that Linux lists for this CPU; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return frozenset()
    lines = (line for line in info.read_text().splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())


def instruction_set() -> InstructionSet:
    """The fastest that this CPU has; where none is known, nothing more than the weakest is taken for granted."""
    flags = cpu_flags()
    return next((known for known in INSTRUCTION_SETS if known.flag in flags), _UNKNOWN)


def weight_bits() -> int:
    """8, or 7 where the CPU's 8-bit sums saturate."""
    return instruction_set().weight_bits


def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 numbers; others do so in float32, which is slower than float32 itself."""
    return bool(cpu_flags() & _BFLOAT16)


def require_bfloat16() -> None:
    """Checks that steps in bfloat16 make sense here.

    A model with such steps would run on any CPU, but slower than in float32. Whoever asks for them by name (in a
    recipe, say) is told so; to go on in float32 would give another model than the same recipe gives elsewhere.

    Raises:
        PlatformError: the CPU does not multiply bfloat16 numbers.
    """
    if not has_bfloat16():
        raise PlatformError(
            f"this CPU ({instruction_set().name}) has no bfloat16: expected {' or '.join(sorted(_BFLOAT16))} among its "
            'flags; leave the nodes in float with keep = "fp32", or quantize on a CPU that has it'
        )


def require_int8_kernels() -> None:
    """Checks that TensorFlow can run what would be written, by running one convolution.

    Raises:
        PlatformError: not an x86-64 CPU, oneDNN switched off, or a build without the kernels.
    """
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        arm = ", an Arm CPU" if machine.lower().startswith(("aarch64", "arm")) else ""
        raise PlatformError(
            f"TensorFlow has 8-bit kernels for x86-64 CPUs only, and this is {machine}{arm}; "
            "quantize and run the model on an x86-64 machine"
        )
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        raise PlatformError(
            "oneDNN is switched off by TF_ENABLE_ONEDNN_OPTS=0, and with it every 8-bit kernel; "
            "unset the variable or set it to 1"
        )
    failure = _probe()
    if failure:
        raise PlatformError(
            f"this TensorFlow ({tf.__version__}) has no working 8-bit convolution: {failure}; "
            "expected a stock tensorflow or tensorflow-cpu of 2.16 or newer with oneDNN"
        )


@lru_cache
def _probe() -> str | None:
    """Runs one tiny 8-bit convolution; what went wrong, or `None`."""
    builder = Builder(Graph(), {}, lambda _: Shape.UNKNOWN)
    x = Encoding(Code.UNSIGNED, 1.0)
    codes = builder.coded_constant("x", np.full((1, 1, 1, 16), 0.5, np.float32), x)
    weight = quantize_weight(np.ones((1, 1, 16, 16), np.float32), (3,))
    out = Encoding(Code.UNSIGNED, 16.0)
    result = builder.dequantized("y", fused_conv(builder, CONV, "conv", codes, weight, None, out, relu=True), out)
    try:
        with Runner(builder.graph()) as run:
            value = run([Ref(result.node)], {})[0]
    except (ModelError, tf.errors.OpError) as error:
        return str(error).strip().partition("\n")[0]
    return None if np.allclose(value, 8.0, atol=0.2) else f"it computed {value.flat[0]} where 8 was expected"
