from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eightfold.running.file import Measured, Tuned, write
from eightfold.running.settings import Runtime
from eightfold.system.topology import topology


@pytest.fixture
def tuned_folder(tmp_path: Path) -> Path:
    """Settings for latency, on the machine that this is, and for throughput, on another."""
    folder = tmp_path / "net"
    folder.mkdir()
    settings = {
        "latency": Runtime(intra=1, cores=1),
        "throughput": Runtime(instances=2000, intra=1, cores=1, batch_size=8),
    }
    for mode, one in settings.items():
        machine = {} if mode == "latency" else {"cpu": "another CPU", "cores": 2000}
        found = Tuned(one, Measured(9.0, 1.0, 2.0, 3.0), machine, {}, "today", "eightfold tune net")
        write(folder, "latency" if mode == "latency" else "throughput", found)
    return folder


def test_a_dry_run_shows_commands(run: Any, tuned_folder: Path) -> None:
    result = run("run", tuned_folder, "--dry-run", "--", "python", "app.py", "--port", 80, "a b")
    assert result.exit_code == 0, result.stderr
    words = shlex.split(result.stdout)
    cpu = str(topology().cores[0].cpus[0])
    assert words[-8:] == ["taskset", "-c", cpu, "python", "app.py", "--port", "80", "a b"]
    assert {"env", "TF_NUM_INTRAOP_THREADS=1", "EIGHTFOLD_MODE=latency", "EIGHTFOLD_INSTANCE=0"} < set(words)


def test_settings_of_a_larger_machine_are_scaled_down(run: Any, tuned_folder: Path) -> None:
    result = run("run", tuned_folder, "--mode", "throughput", "--dry-run", "--json", "--", "app")
    document = json.loads(result.stdout)
    usable = topology().usable
    assert document["mode"] == "throughput"
    assert len(document["instances"]) == document["settings"].get("instances", 1) == usable
    elsewhere, fewer, *_ = document["notes"]
    assert "found on another CPU with 2000 cores" in elsewhere
    assert f"{usable} in place of 2000 instances" in fewer
    assert [one["environment"]["EIGHTFOLD_INSTANCE"] for one in document["instances"]] == [
        str(number) for number in range(usable)
    ]


def test_a_quiet_dry_run_shows_the_commands_alone(run: Any, tuned_folder: Path) -> None:
    plan = ("run", tuned_folder, "--mode", "throughput", "--dry-run")
    said, quiet = (run(*plan, *option, "--", "app").stdout.splitlines() for option in ((), ("-q",)))
    assert said[0].startswith("# ")
    assert quiet == [line for line in said if not line.startswith("#")]
    assert len(quiet) == topology().usable


def test_the_exit_code_of_the_program(run: Any, tuned_folder: Path) -> None:
    count = min(2, topology().usable)
    if count < 2:
        pytest.skip("one core: a single copy takes the place of the process")
    result = run("run", tuned_folder, "--instances", 2, "-q", "--", "sh", "-c", "exit 5")
    assert result.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--", "no-such-program-here"), "there is no program no-such-program-here"),
        (("--json", "--", "ls"), "--json goes with --dry-run"),
        (("--instances", 4000, "--", "ls"), "4000 instances need a core each"),
    ],
)
def test_what_cannot_be_started(run: Any, tuned_folder: Path, arguments: tuple[object, ...], words: str) -> None:
    result = run("run", tuned_folder, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_model_without_settings(run: Any, tmp_path: Path) -> None:
    result = run("run", tmp_path, "--", "ls")
    assert result.exit_code == 2
    assert f"eightfold tune {tmp_path}" in result.stderr
    assert run("run", tmp_path / "nowhere", "--", "ls").exit_code == 2


def test_nothing_heavy_is_loaded_to_start_a_program(tuned_folder: Path) -> None:
    script = (
        "import sys; from eightfold.running.chosen import choose; from eightfold.running.launch import launch\n"
        "import eightfold.running.team, eightfold.running.forms\n"
        "chosen = choose(sys.argv[1])\n"
        "launch(['ls'], chosen.settings, chosen.mode, chosen.topology)\n"
        "print(sorted({'tensorflow', 'keras', 'scipy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script, str(tuned_folder)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
