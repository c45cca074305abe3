"""Where oneDNN is switched on, as on a CPU on which TensorFlow leaves it off: that is made up here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

import eightfold as ef
from eightfold.system import onednn
from eightfold.system.onednn import SWITCH, asked_for, inherited, left_off, switch_on, too_late


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without VNNI, and a user who has said nothing."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(onednn, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("flags", "architecture", "expected"),
    [
        ({"avx2", "fma"}, "x86_64", True),
        ({"avx2", "avx512f", "avx512bw"}, "x86_64", True),
        (set(), "AMD64", True),
        ({"avx2", "avx_vnni"}, "x86_64", False),
        ({"avx512_vnni"}, "x86_64", False),
        ({"asimd"}, "aarch64", False),
    ],
)
def test_where_tensorflow_leaves_it_off(flags: Collection[str], architecture: str, expected: bool) -> None:
    assert left_off(flags, architecture) is expected


def test_it_is_asked_for_unless_the_user_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_for() == {SWITCH: "1"}
    assert inherited()[SWITCH] == "1"
    for value, asked in (("0", {}), ("false", {}), ("1", {SWITCH: "1"})):
        monkeypatch.setenv(SWITCH, value)
        assert asked_for() == asked
        assert inherited()[SWITCH] == value


def test_a_cpu_with_vnni_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "cpu_flags", lambda: frozenset({"avx2", "avx512_vnni"}))
    assert asked_for() == {}
    assert SWITCH not in inherited()
    assert too_late() == []


def test_it_is_switched_on_in_a_process_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert too_late() == []
    switch_on()
    assert os.environ.pop(SWITCH) == "1"
    monkeypatch.setenv(SWITCH, "0")
    switch_on()
    assert os.environ[SWITCH] == "0"


def test_once_tensorflow_is_there_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", pytest)
    switch_on()
    assert SWITCH not in os.environ
    (sentence,) = too_late()
    assert f"set {SWITCH}=1 before TensorFlow is imported" in sentence
    monkeypatch.setenv(SWITCH, "0")  # as the user wants it
    assert too_late() == []


FIRST_USE = f"""
import json, os, sys
sys.path.insert(0, sys.argv[1])
from eightfold.system import onednn
onednn.cpu_flags = lambda: frozenset({{"avx2"}})
onednn.platform.machine = lambda: "x86_64"
said = []
def look():
    said.append([os.environ.get("{SWITCH}"), "tensorflow" in sys.modules])
import eightfold as ef
ef.__version__
look()
ef.load
look()
import eightfold.cli.app
look()
print(json.dumps(said))
"""


def after_first_use(**variables: str) -> list[list[object]]:
    place = str(Path(ef.__file__).parents[1])
    finished = subprocess.run(
        [sys.executable, "-c", FIRST_USE, place],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    found: list[list[object]] = json.loads(finished.stdout)
    return found


def test_importing_eightfold_changes_nothing_and_using_it_does() -> None:
    assert after_first_use() == [[None, False], ["1", False], ["1", False]]
    assert after_first_use(**{SWITCH: "0"}) == [["0", False]] * 3
