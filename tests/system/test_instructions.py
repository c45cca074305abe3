"""What a CPU's flags mean for 8 bits and for bfloat16."""

from __future__ import annotations

import pytest
from made_up_machine import Tree

from eightfold.errors import PlatformError
from eightfold.system import instructions
from eightfold.system.cpu_info import cpu_name, processors

HASWELL = "fpu sse4_1 avx avx2"
SKYLAKE = f"{HASWELL} avx512f avx512bw"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
COOPER_LAKE = f"{CASCADE_LAKE} avx512_bf16"
SAPPHIRE_RAPIDS = f"{COOPER_LAKE} avx_vnni avx512_fp16 amx_tile amx_int8 amx_bf16"
ALDER_LAKE = f"{HASWELL} avx_vnni"
ZEN_5 = f"{COOPER_LAKE} avx_vnni"


def has(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(instructions, "cpu_flags", lambda: frozenset(flags.split()))


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
        ("", "an unknown CPU", 7, False),
    ],
)
def test_flags_to_instruction_set(
    monkeypatch: pytest.MonkeyPatch, flags: str, name: str, bits: int, bfloat16: bool
) -> None:
    has(monkeypatch, flags)
    assert instructions.instruction_set().name == name
    assert instructions.weight_bits() == instructions.instruction_set().weight_bits == bits
    assert instructions.has_bfloat16() is bfloat16
    assert instructions.instruction_set().meaning.endswith(f"weights have {bits} bits")


def test_the_flags_of_the_first_cpu(tree: Tree) -> None:
    tree.cpuinfo({"processor": 0, "flags": CASCADE_LAKE}, {"processor": 1, "flags": "fpu"})
    assert instructions.cpu_flags(tree.root) == set(CASCADE_LAKE.split())


def test_no_list_of_flags(tree: Tree) -> None:
    assert instructions.cpu_flags(tree.root) == frozenset()
    assert processors(tree.root) == {}


def test_an_arm_cpu_lists_features(tree: Tree) -> None:
    tree.cpuinfo({"processor": 0, "BogoMIPS": 50.0, "Features": "fp asimd bf16"})
    assert instructions.cpu_flags(tree.root) == frozenset()
    assert list(processors(tree.root)) == [0]


def test_the_name_of_the_cpu(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert cpu_name(tree.root) == "riscv64"
    processors.cache_clear()
    tree.cpuinfo(
        {"processor": 0, "cpu family": 6, "model": 143, "model name": "Intel(R) Xeon(R) Platinum 8480+"},
        {"processor": 1, "model name": "another"},
    )
    assert cpu_name(tree.root) == "Intel(R) Xeon(R) Platinum 8480+ (family 6, model 143)"


def test_the_extensions_that_matter() -> None:
    assert instructions.extensions(SAPPHIRE_RAPIDS.split()) == (
        "AVX2",
        "AVX-VNNI",
        "AVX-512",
        "AVX-512 VNNI",
        "AVX-512 BF16",
        "AVX-512 FP16",
        "AMX INT8",
        "AMX BF16",
    )
    assert instructions.extensions(["fpu"]) == ()


def test_the_words() -> None:
    meanings = {known.name: known.meaning for known in instructions.INSTRUCTION_SETS}
    assert meanings["AMX"] == "AMX sums 8-bit products in 32 bits: weights have 8 bits"
    assert meanings["AVX2"] == (
        "AVX2 without VNNI saturates sums of two 8-bit products at 16 bits: weights have 7 bits"
    )


def test_bfloat16_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, COOPER_LAKE)
    instructions.require_bfloat16()
    has(monkeypatch, CASCADE_LAKE)
    with pytest.raises(PlatformError, match=r"\(AVX-512 VNNI\) has no bfloat16.*leave the nodes in float with keep"):
        instructions.require_bfloat16()
