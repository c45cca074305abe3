"""Running models on a CPU on which TensorFlow leaves oneDNN off: that is made up here."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuned_models import folder, machine, saved_model, tuned
from typer.testing import CliRunner

from eightfold.bench.protocol import Job, Refusal
from eightfold.bench.worker import load as in_worker
from eightfold.cli.app import app
from eightfold.errors import PlatformError
from eightfold.running.file import write
from eightfold.running.fitting import Here, fitted
from eightfold.running.loaded import load
from eightfold.running.notices import SettingsWarning
from eightfold.running.process import Process
from eightfold.running.scope import runtime
from eightfold.running.settings import Runtime
from eightfold.system import onednn
from eightfold.system.onednn import SWITCH
from eightfold.tf import cpu, prepared

ANSWERS = f"import json, os; input(); print(json.dumps({{'value': os.environ.get('{SWITCH}')}}))"


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without VNNI, and a user who has said nothing."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(onednn, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def seen_by_worker(**env: str | None) -> Any:
    with Process("a worker", [sys.executable, "-c", ANSWERS], env) as process:
        return process.ask("say")["value"]


def test_workers_have_it_unless_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen_by_worker() == "1"
    assert seen_by_worker(**{SWITCH: "0"}) == "0"  # the default environment of a benchmark
    monkeypatch.setenv(SWITCH, "0")
    assert seen_by_worker() == "0"


def test_settings_of_another_cpu_are_given_it() -> None:
    here = Here("a CPU", machine(4), frozenset(), bfloat16=False, onednn=onednn.asked_for())
    fit = fitted(Runtime(env={"A": "1"}), {}, here)
    assert fit.settings == Runtime(env={SWITCH: "1", "A": "1"})
    assert fit.notes == (f"with {SWITCH}=1: TensorFlow leaves oneDNN off on this CPU",)
    found_here = Runtime(env={SWITCH: "1"})
    assert fitted(found_here, {}, here) == (fitted(found_here, {}, Here("a CPU", machine(4), frozenset(), False)))


@pytest.mark.parametrize("form", ["shell", "docker", "systemd", "kubernetes", "json"])
def test_env_prints_it(tmp_path: Path, form: str) -> None:
    net = folder(tmp_path / "net", latency=Runtime(intra=1))
    result = CliRunner().invoke(app, ["env", str(net), "--format", form])
    assert result.exit_code == 0, result.stderr
    assert SWITCH in result.stdout


def test_run_sets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = folder(tmp_path / "net", latency=Runtime(intra=1))
    command = ["run", str(net), "--dry-run", "--", "app"]
    said, words = CliRunner().invoke(app, command).stdout.splitlines()
    assert said == f"# with {SWITCH}=1: TensorFlow leaves oneDNN off on this CPU"
    assert f"{SWITCH}=1" in shlex.split(words)
    monkeypatch.setenv(SWITCH, "0")
    document = json.loads(CliRunner().invoke(app, [*command[:3], "--json", *command[3:]]).stdout)
    assert document["notes"] == []
    assert SWITCH not in document["instances"][0]["environment"]


def test_a_model_is_loaded_too_late(tmp_path: Path) -> None:
    net = saved_model(tmp_path / "net")
    with pytest.warns(SettingsWarning, match="TensorFlow was imported without oneDNN") as warned:
        model = load(net)
    assert [Path(one.filename).name for one in warned] == [Path(__file__).name]
    assert model.notes[1] == str(warned[0].message)
    model(x=np.zeros((1, 4), np.float32))  # in float it runs
    model.close()
    write(net, "latency", tuned(Runtime(env={SWITCH: "1"})))
    with pytest.warns(SettingsWarning, match=f"too late in this process for {SWITCH}=1"):
        load(net).close()
    with pytest.warns(SettingsWarning, match=f"too late in this process for {SWITCH}=1"), runtime(net):
        pass


def test_a_model_in_8_bits_is_refused_without_onednn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = saved_model(tmp_path / "net")
    monkeypatch.setattr(prepared, "is_quantized", lambda _: True)
    monkeypatch.setattr(cpu, "_probe", lambda: "Missing 0-th output")
    with (
        pytest.warns(SettingsWarning),
        pytest.raises(PlatformError, match=f"Missing 0-th output; on a CPU without VNNI.* set {SWITCH}=1 before"),
    ):
        load(net)
    monkeypatch.setenv(SWITCH, "0")
    with pytest.raises(PlatformError, match=f"oneDNN is switched off by {SWITCH}=0"):
        load(net)
    with pytest.raises(Refusal, match=f"oneDNN is switched off by {SWITCH}=0"):
        in_worker(Job(model=str(net), batch_size=1))
