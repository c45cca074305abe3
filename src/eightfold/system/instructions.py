"""What a CPU's instructions mean for 8 bits, and for bfloat16."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from eightfold.errors import PlatformError
from eightfold.system.cpu_info import processors

__all__ = [
    "EXTENSIONS",
    "INSTRUCTION_SETS",
    "InstructionSet",
    "cpu_flags",
    "extensions",
    "fastest",
    "has_bfloat16",
    "instruction_set",
    "require_bfloat16",
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

EXTENSIONS = {
    "AVX2": "avx2",
    "AVX-VNNI": "avx_vnni",
    "AVX-512": "avx512f",
    "AVX-512 VNNI": "avx512_vnni",
    "AVX-512 BF16": "avx512_bf16",
    "AVX-512 FP16": "avx512_fp16",
    "AMX INT8": "amx_int8",
    "AMX BF16": "amx_bf16",
    "AMX FP16": "amx_fp16",
}
"""The instructions that decide how fast low precision is, and the names under which Linux lists them."""

_UNKNOWN = InstructionSet("an unknown CPU", "", exact=False)
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """The instruction sets that Linux lists for the first CPU, and so for all; empty elsewhere."""
    first = next(iter(processors(root).values()), {})
    return frozenset(first.get("flags", "").split())


def extensions(flags: Collection[str]) -> tuple[str, ...]:
    """Those of `EXTENSIONS` that a CPU with these flags has."""
    return tuple(name for name, flag in EXTENSIONS.items() if flag in flags)


def fastest(flags: Collection[str]) -> InstructionSet:
    """The fastest for 8 bits among the flags; where none is known, only the weakest is taken for granted."""
    return next((known for known in INSTRUCTION_SETS if known.flag in flags), _UNKNOWN)


def instruction_set() -> InstructionSet:
    """The fastest for 8 bits that this CPU has."""
    return fastest(cpu_flags())


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
