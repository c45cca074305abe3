"""`eightfold system`: the page, the document, and machines without TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from eightfold.cli import system as command
from eightfold.errors import PlatformError
from eightfold.tf.build import Build, OneDnn

Run = Callable[..., Any]
STOCK = Build("2.21.0", OneDnn("3.7.3", "threadpool", "Intel AVX2", "jit_uni_int8:avx2"), None)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed_build", lambda: STOCK)


@pytest.mark.usefixtures("stock")
def test_the_page(run: Run) -> None:
    result = run("system")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("socket ")
    for words in ("CPU ", "quota ", "TensorFlow ", "oneDNN ", "thread pool ", "TensorFlow's own (Eigen)"):
        assert words in result.stdout
    assert "What is best for a model: eightfold tune MODEL" in result.stdout


@pytest.mark.usefixtures("stock")
def test_the_document(run: Run) -> None:
    result = run("system", "--json")
    document = json.loads(result.stdout)
    assert document["tensorflow"]["onednn"]["runtime"] == "threadpool"
    assert document["topology"]["usable"] >= 1
    assert document["topology"]["cores"][0]["cpus"]
    assert document["flags"] == sorted(document["flags"])
    assert {"name", "value", "meaning", "warning"} == set(document["findings"][0])
    assert [one["name"] for one in document["findings"]][-3:] == ["TensorFlow", "oneDNN", "thread pool"]


@pytest.mark.usefixtures("stock")
def test_quiet_says_nothing(run: Run) -> None:
    assert run("system", "--quiet").stdout == ""


def test_without_asking_tensorflow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed_build", lambda: pytest.fail("it was asked"))
    result = run("system", "--no-tensorflow", "--json")
    assert json.loads(result.stdout)["tensorflow"] is None


def test_a_tensorflow_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed_build", lambda: None)
    result = run("system")
    assert result.exit_code == 0
    assert "not installed" in result.stdout


def test_a_tensorflow_that_does_not_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Build:
        raise PlatformError("TensorFlow is installed and cannot be used: ImportError: no libtensorflow")

    monkeypatch.setattr(command, "installed_build", broken)
    result = run("system")
    assert result.exit_code == 0
    assert "cannot be used: ImportError: no libtensorflow" in result.stdout


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("cores", [1, 4])
def test_the_advice(cores: int) -> None:
    latency, throughput, _ = command._advice(cores)
    assert latency == f"Latency: one instance, up to {cores} thread{'s' if cores > 1 else ''}."
    assert ("pinned instances" in throughput) is (cores > 1)


def test_a_program_of_its_own_sees_its_affinity() -> None:
    """Not one module of TensorFlow is loaded for it."""
    cpu = min(os.sched_getaffinity(0))
    script = "\n".join(
        [
            "import os, sys",
            f"os.sched_setaffinity(0, {{{cpu}}})",
            "sys.argv = ['eightfold', 'system', '--no-tensorflow', '--json']",
            "from eightfold.cli.app import app",
            "app(standalone_mode=False)",
            "assert 'tensorflow' not in sys.modules",
        ]
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["topology"]["cores"][0]["cpus"] == [cpu]
    assert len(json.loads(run.stdout)["topology"]["cores"]) == 1
