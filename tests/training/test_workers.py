"""Workers in processes of their own: they train as one does, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from eightfold.errors import PlatformError, RecipeError
from eightfold.system.topology import Core, Topology, topology
from eightfold.training.collective import EXIT_LOST, WorkerLostError
from eightfold.training.workers import launched, settings

MEMBER = str(Path(__file__).with_name("team_member.py"))
TWO = pytest.mark.skipif(topology().usable < 2, reason="this process may use one core only")


def program(folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, MEMBER, str(folder), *map(str, arguments)]


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def script(code: str) -> list[str]:
    start = "import os, sys, time, signal; from eightfold.training.seat import given; seat = given(os.environ)\n"
    return [sys.executable, "-c", start + code]


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@TWO
@pytest.mark.parametrize("net", ["plain", "sequential"])
def test_two_workers_train_as_one_with_the_same_shares_does(net: str, tmp_path: Path, capfd: Any) -> None:
    alone, both = tmp_path / "1", tmp_path / "2"
    alone.mkdir()
    both.mkdir()
    shares = 2 if net == "sequential" else 1  # batch norms take the statistics of a share
    assert launched(1, program(alone, net, 16, shares, 6)) == 0
    assert launched(2, program(both, net, 16, 2, 6)) == 0
    (one,), two = results(alone), results(both)
    assert len(two) == 2
    assert two[0]["losses"] == two[1]["losses"]
    assert two[0]["digest"] == two[1]["digest"]
    assert two[0]["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert one["losses"][0] != one["losses"][-1]
    assert not set(two[0]["cpus"]) & set(two[1]["cpus"])
    shown = capfd.readouterr().out
    assert "worker 0 on" in shown
    assert "worker 1 on" not in shown


@TWO
@pytest.mark.parametrize(
    ("fate", "message"),
    [
        ("killed", "worker 1 of 2 was ended by signal 9 (Killed)"),
        ("failing", "worker 1 of 2 has ended with exit code 1; it wrote last:"),
        ("leaving", "worker 0 of 2 has ended with exit code 75"),
    ],
)
def test_a_lost_worker_ends_in_a_checkpoint_and_a_message(fate: str, message: str, tmp_path: Path, capfd: Any) -> None:
    said: list[str] = []
    with pytest.raises(WorkerLostError) as raised:
        launched(2, program(tmp_path, "plain", 16, 2, 200, fate), say=said.append)
    assert str(raised.value).startswith(message)
    assert ("row 17 cannot be read" in str(raised.value)) == (fate == "failing")
    assert (tmp_path / "checkpoint.keras").exists()
    assert "error: worker 1 has ended" in capfd.readouterr().err


@TWO
@pytest.mark.parametrize(
    ("fate", "message"),
    [
        ("stopped", "worker 1 has said nothing for 3 s: it is stopped or out of reach"),
        ("hanging", "worker 1 gives signs of life, but has kept the others waiting for"),
    ],
)
def test_a_worker_that_does_not_go_on_is_lost_too(fate: str, message: str, tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(WorkerLostError, match="worker 1 of 2 no longer answered, and was ended"):
        launched(2, program(tmp_path, "plain", 16, 2, 200, fate), grace=1)
    assert (tmp_path / "checkpoint.keras").exists()
    assert f"error: {message}" in capfd.readouterr().err


@TWO
def test_a_worker_that_does_not_end_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(WorkerLostError, match="worker 1 of 2 has ended with exit code 3"):
        launched(2, script("sys.exit(3) if seat.rank else time.sleep(60)"), grace=0.5)
    with pytest.raises(WorkerLostError, match="worker 1 of 2 no longer answered, and was ended"):
        launched(2, script(f"time.sleep(60) if seat.rank else sys.exit({EXIT_LOST})"), grace=0.5)
    assert time.monotonic() - began < 10


@TWO
def test_what_all_have_said_themselves_is_not_said_again() -> None:
    assert launched(2, script("sys.exit(2)")) == 2
    assert launched(2, script("")) == 0


def test_as_many_cores_as_workers_are_needed() -> None:
    here = Topology(tuple(Core((number,), 0, 0) for number in range(5)))
    assert (settings(2, here).cores, settings(2, here).intra) == (2, 2)
    assert settings(2, here, cores=1).cores == 1
    with pytest.raises(RecipeError, match="there cannot be 0 workers"):
        settings(0, here)
    with pytest.raises(PlatformError, match="need"):
        launched(topology().usable + 1, ["true"])


LAUNCHER = """
import sys
from eightfold.training.workers import launched
sys.exit(launched({count}, {program!r}, grace=20))
"""


def launcher(tmp_path: Path, code: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process that has launched workers, and theirs."""
    inner = script(f"open({str(tmp_path)!r} + f'/{{seat.rank}}', 'w').write(str(os.getpid()) + chr(10))\n{code}")
    count = min(2, topology().usable)
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER.format(count=count, program=inner)])
    deadline = time.monotonic() + 20
    files = [tmp_path / str(rank) for rank in range(count)]
    while not all(file.exists() and file.read_text().endswith("\n") for file in files):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process, [int(file.read_text()) for file in files]


def until_ended(pids: list[int], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_worker_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    process, pids = launcher(tmp_path, "time.sleep(60)")
    process.kill()
    process.wait()
    until_ended(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_workers(number: int, tmp_path: Path) -> None:
    process, pids = launcher(tmp_path, "time.sleep(60)")
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    until_ended(pids)


def test_workers_take_their_time_to_stop_until_a_second_signal(tmp_path: Path) -> None:
    process, pids = launcher(tmp_path, "signal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(60)")
    time.sleep(1)
    for _ in range(2):  # at once, as `timeout` does: they count as one
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    time.sleep(1)
    assert process.poll() is None
    assert all(running(pid) for pid in pids)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 128 + signal.SIGINT
    until_ended(pids)


def test_it_runs_in_any_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(launched(1, script("sys.exit(4)"))))
    thread.start()
    thread.join(20)
    assert codes == [4]


def test_workers_do_not_keep_what_they_share(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert launched(1, script("")) == 0
    assert len(os.listdir("/proc/self/fd")) == before
