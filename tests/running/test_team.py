from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tuned_models import folder

from eightfold.errors import EightfoldError
from eightfold.running.launch import Copy, Launch
from eightfold.running.settings import Runtime
from eightfold.running.team import run_together
from eightfold.system.topology import topology

PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from eightfold.cli.app import main
main()
"""
RUN = (sys.executable, "-c", PROGRAM)
SOON = 120.0
"""Seconds within which a process must have done what it is waited for."""


def together(script: str, count: int = 2) -> tuple[int, list[str]]:
    said: list[str] = []
    copies = tuple(Copy(None, {"NUMBER": str(number)}) for number in range(count))
    return run_together(Launch(("sh", "-c", script), copies), said.append), said


def test_lines_come_with_the_number_of_the_copy(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, said = together("echo one $NUMBER; echo two >&2; printf three")
    assert (code, said) == (0, [])
    written = capfdbinary.readouterr()
    assert sorted(written.out.splitlines()) == [b"[0] one 0", b"[0] three", b"[1] one 1", b"[1] three"]
    assert written.out.endswith(b"\n")
    assert sorted(written.err.splitlines()) == [b"[0] two", b"[1] two"]


def test_a_copy_that_ends_well_leaves_the_others_alone(capfd: pytest.CaptureFixture[str]) -> None:
    code, said = together("[ $NUMBER = 0 ] || sleep 0.5; echo done")
    assert (code, said) == (0, [])
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] done", "[1] done"]


def test_when_one_fails_the_others_are_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    first = f"until [ -s {pids} ]; do sleep 0.05; done; exit 7"
    second = f"sleep 600 & echo $$ $! > {pids}; wait"  # it has a process of its own
    code, said = together(f"if [ $NUMBER = 0 ]; then {first}; else {second}; fi")
    assert code == 7
    assert said == ["instance 0 failed with exit code 7; the other is ended"]
    assert not any(_runs(int(pid)) for pid in pids.read_text().split())


def test_a_copy_that_is_killed() -> None:
    code, said = together("if [ $NUMBER = 1 ]; then kill -SEGV $$; fi; sleep 600", count=3)
    assert code == 128 + signal.SIGSEGV
    assert said == ["instance 1 was ended by signal 11 (Segmentation fault); the other 2 are ended"]


def test_signals_that_are_ignored_stay_so(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert together("kill -HUP $PPID $$; echo alive") == (0, [])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] alive", "[1] alive"]


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(EightfoldError, match=r"the program no-such-program cannot be started: No such file"):
        run_together(Launch(("no-such-program",), (Copy(None, {}),)), print)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, and waiting for whoever inherits it


def _started(arguments: Sequence[str], waiting: Sequence[Path]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*RUN, "run", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    deadline = time.monotonic() + SOON
    while not all(path.exists() and path.read_text() for path in waiting) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("TF_NUM", "EIGHTFOLD"))}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return folder(tmp_path / "net", latency=Runtime(intra=1, cores=1), throughput=Runtime(instances=2, intra=1))


WAIT = """
import os, pathlib, signal, sys, time
number = os.environ["EIGHTFOLD_INSTANCE"]
def end(signum, frame):
    time.sleep(0.2 * int(number))  # the second takes longer, and is let
    print("ended by", signum, flush=True)
    sys.exit(30 + int(number))
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, end)
pathlib.Path(sys.argv[1], number).write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[list[str]]:
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    yield [sys.executable, os.fspath(script), os.fspath(tmp_path)]
    for number in ("0", "1"):  # where a test has failed
        if (tmp_path / number).exists() and _runs(int((tmp_path / number).read_text())):
            os.kill(int((tmp_path / number).read_text()), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_copies(net: Path, waiting: list[str], tmp_path: Path, number: int) -> None:
    process = _started([os.fspath(net), "--mode", "throughput", "--", *waiting], [tmp_path / "0", tmp_path / "1"])
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    assert sorted(out.splitlines()) == [f"[0] ended by {number}", f"[1] ended by {number}"], err
    assert process.returncode == 30
    assert "the other is ended" not in err  # nobody failed, and each had its time
    assert not any(_runs(int((tmp_path / one).read_text())) for one in "01")


def test_a_single_copy_takes_the_place_of_the_process(net: Path, waiting: list[str], tmp_path: Path) -> None:
    process = _started([os.fspath(net), "--", *waiting], [tmp_path / "0"])
    assert int((tmp_path / "0").read_text()) == process.pid
    process.terminate()
    out, _ = process.communicate(timeout=SOON)
    assert out == f"ended by {signal.SIGTERM}\n"  # as it was written
    assert process.returncode == 30


def test_what_a_single_copy_finds(net: Path) -> None:
    script = 'taskset -cp $$; env; cat /proc/$$/status | grep -E "SigIgn|SigCgt"'
    done = subprocess.run(
        [*RUN, "run", os.fspath(net), "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**_environment(), "TF_NUM_INTRAOP_THREADS": "5"},
    )
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f": {topology().cpus[0]}")
    assert {"TF_NUM_INTRAOP_THREADS=5", "EIGHTFOLD_INSTANCE=0", "EIGHTFOLD_INSTANCES=1"} <= set(lines)
    assert "eightfold: TF_NUM_INTRAOP_THREADS=5 is in the environment already and stays" in done.stderr
    ignored = int(next(line for line in lines if line.startswith("SigIgn")).split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))  # what Python ignores is not handed on
