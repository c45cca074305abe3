"""Whether TensorFlow has 8-bit kernels here."""

from __future__ import annotations

import pytest

from eightfold.errors import PlatformError
from eightfold.tf import cpu


@pytest.mark.parametrize(
    ("machine", "what"), [("aarch64", "aarch64, an Arm CPU;"), ("arm64", "arm64, an Arm CPU;"), ("ppc64le", "ppc64le;")]
)
def test_another_architecture(monkeypatch: pytest.MonkeyPatch, machine: str, what: str) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(PlatformError) as raised:
        cpu.require_int8_kernels()
    assert f"TensorFlow has 8-bit kernels for x86-64 CPUs only, and this is {what}" in str(raised.value)
