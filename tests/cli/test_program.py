from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eightfold

SOURCE = Path(eightfold.__file__).parents[1]


def program(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`eightfold` in a process of its own, with no log level set."""
    kept = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", "from eightfold.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_printed(run: Any) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"eightfold {eightfold.__version__}\n")


@pytest.mark.parametrize("command", ["quantize", "evaluate", "benchmark", "explain"])
def test_each_command_has_help_with_examples_and_json(run: Any, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.count(f"$ eightfold {command} ") >= 3
    assert "--json" in result.stdout


def test_help_and_version_do_not_load_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom eightfold.cli.app import app\n"
        "for words in (['--help'], ['quantize', '--help'], ['--version']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [(), ("nonsense",), ("quantize",), ("quantize", "net")])
def test_wrong_usage_exits_with_2(run: Any, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.int8
def test_a_process_of_its_own_writes_json_to_stdout_and_nothing_to_stderr(
    tmp_path: Path, float_model: Path, steady: Path
) -> None:
    import json

    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    print('this is not part of the result')\n"
        "    for _ in range(4):\n"
        "        yield np.random.default_rng(1).random((8, 12, 12, 8), dtype=np.float32)\n"
    )
    arguments = ("-d", "mine:batches", "-o", "out", "--recipe", steady, "--json")
    done = program("quantize", float_model, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == "out"
    assert set(done.stderr.splitlines()) == {"this is not part of the result"}


def test_a_process_of_its_own_fails_in_one_line(tmp_path: Path, float_model: Path) -> None:
    done = program("quantize", float_model, "-d", "no.npz", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert os.listdir(tmp_path) == []
