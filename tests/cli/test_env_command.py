from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eightfold.running.file import Measured, Tuned, write
from eightfold.running.settings import Runtime
from eightfold.system.onednn import asked_for


@pytest.fixture
def tuned_net(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    folder.mkdir()
    settings = Runtime(intra=1, cores=1, env={"TF_ONEDNN_X": "1"})
    write(folder, "latency", Tuned(settings, Measured(9.0, 1.0, 2.0, 3.0), {}, {}, "today", "eightfold tune net"))
    return folder


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("shell", "export TF_ONEDNN_X=1\n"),
        ("docker", "-e TF_ONEDNN_X=1 \\\n"),
        ("systemd", 'Environment="TF_ONEDNN_X=1"\n'),
        ("kubernetes", '- name: TF_ONEDNN_X\n          value: "1"\n'),
        ("tf-serving", "--tensorflow_intra_op_parallelism=1"),
    ],
)
def test_forms(run: Any, tuned_net: Path, form: str, words: str) -> None:
    result = run("env", tuned_net, "--format", form)
    assert result.exit_code == 0, result.stderr
    assert words in result.stdout
    assert result.stdout.startswith("# net, latency: ")
    bare = run("env", tuned_net, "--format", form, "--quiet").stdout
    assert not any(line.startswith("#") for line in bare.splitlines())
    assert words in bare


def test_json(run: Any, tuned_net: Path) -> None:
    document = json.loads(run("env", tuned_net, "--format", "json").stdout)
    assert document == json.loads(run("env", tuned_net, "--json").stdout)
    assert document["mode"] == "latency"
    assert document["settings"]["env"] == {**asked_for(), "TF_ONEDNN_X": "1"}
    (instance,) = document["instances"]
    assert instance["environment"]["TF_NUM_INTRAOP_THREADS"] == "1"
    assert len(instance["cpus"]) == 1


def test_what_is_printed_for_a_shell_can_be_evaluated(run: Any, tuned_net: Path) -> None:
    text = run("env", tuned_net).stdout
    said = subprocess.run(
        ["sh", "-c", f"{text}\nrun_tuned printenv TF_ONEDNN_X"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "1\n"


def test_refusals(run: Any, tuned_net: Path) -> None:
    unknown = run("env", tuned_net, "--mode", "throughput")
    assert unknown.exit_code == 2
    assert "no settings for throughput, only for: latency" in unknown.stderr
    (tuned_net / "assets.extra" / "runtime.json").write_text('{"format": 1}')
    damaged = run("env", tuned_net)
    assert damaged.exit_code == 2
    assert "is damaged: modes is missing" in damaged.stderr
