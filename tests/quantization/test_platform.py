"""Machines and builds that cannot run 8-bit kernels, or not all 8 bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_functions import LENIENT, convolution, images

import eightfold as ef
from eightfold.errors import ModelError, PlatformError
from eightfold.system import instructions
from eightfold.tf import cpu


def refused(match: str) -> None:
    with pytest.raises(PlatformError, match=match):
        ef.quantize(convolution(), images(20), recipe=LENIENT)
    model = ef.export(convolution())  # export and plan need no kernels
    with pytest.raises(PlatformError, match=match):
        ef.lower(model, ef.plan(model))


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_another_kind_of_cpu(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    refused(f"for x86-64 CPUs only, and this is {machine}")


@pytest.mark.parametrize("value", ["0", "false"])
def test_onednn_switched_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)
    refused(f"oneDNN is switched off by TF_ENABLE_ONEDNN_OPTS={value}")


class NoKernels:
    """A runner of a build without 8-bit kernels."""

    def __init__(self, *_: object) -> None:
        raise ModelError("No OpKernel was registered to support Op '_FusedQuantizedConv2D'")


class WrongKernels:
    """A runner whose kernels compute something else."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> WrongKernels:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, *_: object) -> list[object]:
        return [np.zeros(3)]


@pytest.mark.parametrize(
    ("runner", "match"),
    [
        (NoKernels, "has no working 8-bit kernels: No OpKernel was registered"),
        (WrongKernels, "has no working 8-bit kernels: it computed 0.0 where 8 was expected"),
    ],
)
def test_a_build_without_kernels(monkeypatch: pytest.MonkeyPatch, runner: type, match: str) -> None:
    monkeypatch.setattr(cpu, "Runner", runner)
    cpu._probe.cache_clear()
    try:
        refused(match)
    finally:
        cpu._probe.cache_clear()


def test_a_cpu_on_which_onednn_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "Runner", NoKernels)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    cpu._probe.cache_clear()
    try:
        refused(
            "on a CPU without VNNI, TensorFlow leaves oneDNN off: set TF_ENABLE_ONEDNN_OPTS=1 before it is imported"
        )
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
        with pytest.raises(PlatformError) as error:
            cpu.require_int8_kernels()
        assert "without VNNI" not in str(error.value)
    finally:
        cpu._probe.cache_clear()


ONEDNN_OFF = """
import sys
sys.path[:0] = sys.argv[1:]
import eightfold as ef
from eightfold.tf import cpu
from small_functions import convolution, images
print(cpu._probe())
try:
    ef.quantize(convolution(), images(4))
except ef.errors.PlatformError as error:
    print(error)
model = ef.export(convolution())  # a float model can still be exported and planned
print(len(ef.plan(model).steps), "step")
"""


def test_a_process_without_onednn() -> None:
    places = [str(Path(ef.__file__).parents[1]), str(Path(__file__).parent)]
    finished = subprocess.run(
        [sys.executable, "-c", ONEDNN_OFF, *places],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    failure, *said = finished.stdout.splitlines()
    assert failure.startswith("Missing 0-th output from")  # of the product: the convolution runs all the same
    assert said == [
        "oneDNN is switched off by TF_ENABLE_ONEDNN_OPTS=0, and with it every 8-bit kernel; "
        "unset the variable or set it to 1",
        "1 step",
    ]


@pytest.mark.int8
@pytest.mark.parametrize(("flags", "bits", "largest", "step"), [({"avx512_vnni"}, 8, 127, 1), ({"avx2"}, 7, 126, 2)])
def test_weights_have_7_bits_where_sums_saturate(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], bits: int, largest: int, step: int
) -> None:
    """Over signed input 7 bits are written doubled: oneDNN halves them again."""
    monkeypatch.setattr(instructions, "cpu_flags", lambda: frozenset(flags))
    function, x = convolution(), images(2)
    result = ef.quantize(function, images(20), recipe=LENIENT)
    codes = [n.value for n in result.model.graph if n.op == "Const" and n.attrs["dtype"] == "qint8"]
    assert [np.abs(c.astype(int)).max() for c in codes] == [largest]
    assert [np.gcd.reduce(c.astype(int), axis=None) for c in codes] == [step]
    assert result.report.weight_bits == bits
    expected = function(x)["y"].numpy()
    assert np.abs(result(x=x)["y"] - expected).max() < 0.03 * expected.max()


@pytest.mark.int8
def test_the_recipe_decides_on_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    report = ef.quantize(convolution(), images(20), recipe=ef.Recipe(fallback=False, weight_bits=7)).report
    assert report.weight_bits == 7


@pytest.mark.int8
@pytest.mark.parametrize(
    ("flags", "bits", "note"),
    [
        ({"avx512_vnni"}, None, None),
        ({"avx2"}, None, "AVX2 without VNNI saturates sums of two 8-bit products at 16 bits: weights have 7 bits"),
        ({"avx2"}, 8, "the recipe asks for weights of 8 bits, but AVX2 without VNNI saturates"),
        ({"avx512_vnni"}, 7, None),
    ],
)
def test_the_report_says_what_the_cpu_decided(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], bits: int | None, note: str | None
) -> None:
    monkeypatch.setattr(instructions, "cpu_flags", lambda: frozenset(flags))
    model = ef.export(convolution())
    plan = ef.plan(model, ef.Recipe(weight_bits=bits))
    notes = ef.lower(model, plan, ef.calibrate(model, plan, images(4))).report.notes
    assert [text for text in notes if "weights" in text] == [text for text in notes if note and text.startswith(note)]
    assert any(text.startswith(note) for text in notes) if note else not notes
