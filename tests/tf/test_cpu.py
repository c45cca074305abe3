"""What a CPU's flags mean for 8 bits and for bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eightfold.errors import PlatformError
from eightfold.tf import cpu

HASWELL = "fpu sse4_1 avx avx2"
SKYLAKE = f"{HASWELL} avx512f avx512bw"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
COOPER_LAKE = f"{CASCADE_LAKE} avx512_bf16"
SAPPHIRE_RAPIDS = f"{COOPER_LAKE} avx_vnni amx_tile amx_int8 amx_bf16"
ALDER_LAKE = f"{HASWELL} avx_vnni"
ZEN_5 = f"{COOPER_LAKE} avx_vnni"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    cpu.cpu_flags.cache_clear()
    yield
    cpu.cpu_flags.cache_clear()


def has(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    """Lets Linux list these flags, for two cores."""
    text = "".join(f"processor\t: {i}\nmodel name\t: a CPU\nflags\t\t: {flags}\nbogomips\t: 1\n\n" for i in range(2))
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self, *_, **__: text)


@pytest.mark.parametrize(
    ("flags", "name", "bits", "bfloat16"),
    [
        ("fpu sse4_1", "SSE4.1", 7, False),
        (HASWELL, "AVX2", 7, False),
        (SKYLAKE, "AVX-512", 7, False),
        (CASCADE_LAKE, "AVX-512 VNNI", 8, False),
        (COOPER_LAKE, "AVX-512 VNNI", 8, True),
        (SAPPHIRE_RAPIDS, "AMX", 8, True),
        (ALDER_LAKE, "AVX-VNNI", 8, False),
        (ZEN_5, "AVX-512 VNNI", 8, True),
        ("fpu", "an unknown CPU", 7, False),
    ],
)
def test_flags_to_instruction_set(
    monkeypatch: pytest.MonkeyPatch, flags: str, name: str, bits: int, bfloat16: bool
) -> None:
    has(monkeypatch, flags)
    assert cpu.instruction_set().name == name
    assert cpu.weight_bits() == cpu.instruction_set().weight_bits == bits
    assert cpu.has_bfloat16() is bfloat16
    assert cpu.instruction_set().meaning.endswith(f"weights have {bits} bits")


def test_no_list_of_flags_takes_nothing_for_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert cpu.cpu_flags() == frozenset()
    assert cpu.weight_bits() == 7
    assert not cpu.has_bfloat16()


def test_the_words() -> None:
    meanings = {known.name: known.meaning for known in cpu.INSTRUCTION_SETS}
    assert meanings["AMX"] == "AMX sums 8-bit products in 32 bits: weights have 8 bits"
    assert meanings["AVX2"] == (
        "AVX2 without VNNI saturates sums of two 8-bit products at 16 bits: weights have 7 bits"
    )


def test_bfloat16_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, COOPER_LAKE)
    cpu.require_bfloat16()
    cpu.cpu_flags.cache_clear()
    has(monkeypatch, CASCADE_LAKE)
    with pytest.raises(PlatformError, match=r"\(AVX-512 VNNI\) has no bfloat16.*leave the nodes in float with keep"):
        cpu.require_bfloat16()


@pytest.mark.parametrize(
    ("machine", "what"), [("aarch64", "aarch64, an Arm CPU;"), ("arm64", "arm64, an Arm CPU;"), ("ppc64le", "ppc64le;")]
)
def test_another_architecture(monkeypatch: pytest.MonkeyPatch, machine: str, what: str) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(PlatformError) as raised:
        cpu.require_int8_kernels()
    assert f"TensorFlow has 8-bit kernels for x86-64 CPUs only, and this is {what}" in str(raised.value)
