"""Predictions on a Ray cluster: three nodes on this machine, the head without CPUs of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback import Loopback, command_line, kill

from eightfold.errors import EightfoldError, MissingExtraError, PlatformError
from eightfold.prediction import ray as ray_module
from eightfold.prediction.predict import predict
from eightfold.prediction.ray import OnRay
from eightfold.running.process import this_eightfold
from eightfold.running.settings import Runtime

pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'eightfold[ray]'")

Model = Callable[..., Path]
ONE_CORE = Runtime(batch_size=4, instances=2, cores=1)
STAND_IN = Path(__file__).with_name("stand_in_model.py")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Loopback]:
    """Started once for all tests of this file."""
    with Loopback() as nodes:
        yield nodes


def once(rows: int, do: Callable[[], object]) -> Callable[[str, int, int | None], None]:
    """A `progress` that does something when so many rows are done."""
    left = [do]

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage == "predict" and done >= rows and left:
            left.pop()()

    return tell


def test_the_file_is_that_of_this_machine_whatever_dies(
    cluster: Loopback, model: Model, rows: Path, tmp_path: Path
) -> None:
    path = model(seconds=0.05, kills={"17": 1})  # a worker; the actor that holds it starts another
    predict(path, rows, tmp_path / "local.npz", runtime=ONE_CORE)
    for mark in tmp_path.glob("model.json.17.*"):
        mark.unlink()
    killed: list[int] = []

    def kill_actor() -> None:
        killed.append(cluster.actors[0])
        kill(killed[0])

    done = predict(
        path, rows, tmp_path / "ray.npz", runtime=ONE_CORE, cluster=cluster.address, progress=once(60, kill_actor)
    )
    assert (tmp_path / "ray.npz").read_bytes() == (tmp_path / "local.npz").read_bytes()
    assert killed
    assert (done.rows, done.computed, done.instances) == (200, 200, 2)
    assert done.deaths >= 2


def test_rows_that_kill_every_worker_are_named_and_a_run_is_resumed(
    cluster: Loopback, model: Model, rows: Path, tmp_path: Path
) -> None:
    path = model(kills={"17": 4})  # the first death counts against no shard: the worker was ahead
    with pytest.raises(EightfoldError, match=r"on the node .*3 workers died over rows 16 to 19.*ended by signal 9"):
        predict(path, rows, tmp_path / "out.npz", runtime=ONE_CORE, cluster=cluster.address, instances=1)
    assert not (tmp_path / "out.npz").exists()
    done = predict(path, rows, tmp_path / "out.npz", runtime=ONE_CORE, cluster=cluster.address, resume=True)
    assert 0 < done.computed < 200
    with np.load(tmp_path / "out.npz") as answers:
        np.testing.assert_array_equal(answers["total"], np.load(rows).sum(axis=1))


COMMAND = """
import signal
import sys
from pathlib import Path
from eightfold.prediction import local
local.WORKER = (sys.executable, sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from eightfold.cli.app import main
main()
"""


def test_an_interrupt_ends_all_that_it_started(cluster: Loopback, model: Model, rows: Path, tmp_path: Path) -> None:
    path = model(seconds=0.5).rename(tmp_path / "model")  # a .json would be taken for run-time settings
    options = ["--data", str(rows), "--output", "out.npz", "--cluster", cluster.address, "--json"]
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(STAND_IN), "predict", str(path), *options],
        cwd=tmp_path,
        env={**os.environ, **this_eightfold()},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: list(tmp_path.glob("out.npz.partial/part-*")) and len(cluster.actors) == 2)
        workers = cluster.workers
        assert workers
        command.send_signal(signal.SIGINT)
        assert "Interrupted" in command.communicate()[1]
    finally:
        command.kill()
    assert command.returncode == 130
    until(lambda: not cluster.actors and not any(map(command_line, workers)))
    assert not (tmp_path / "out.npz").exists()
    assert (tmp_path / "out.npz.partial/job.json").exists()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.1)


def test_a_node_that_dies_changes_no_row(cluster: Loopback, model: Model, rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.npz"
    progress = once(40, cluster.kill_node)
    done = predict(model(seconds=0.05), rows, output, runtime=ONE_CORE, cluster=cluster.address, progress=progress)
    cluster.add_node()
    assert done.computed == 200
    with np.load(output) as answers:
        np.testing.assert_array_equal(answers["total"], np.load(rows).sum(axis=1))
        np.testing.assert_array_equal(answers["scores"], np.tile(np.load(rows), 3))


def test_an_address_where_nobody_listens_is_refused() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # without listening
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(PlatformError, match=f"no Ray cluster answers at {address}: .*refused"):
            OnRay(address, ONE_CORE)


def test_an_address_where_something_else_listens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_module, "CONNECT", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(PlatformError, match=f"no Ray cluster answers at {address}, tried for 3 s"):
            OnRay(address, ONE_CORE)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"ray://head:10001 is one for Ray's client.*HOST:PORT"):
        OnRay("ray://head:10001", ONE_CORE)
    with pytest.raises(PlatformError, match=r"local would start a cluster for this command alone; leave out --cluster"):
        OnRay("local", ONE_CORE)
    with pytest.raises(PlatformError, match="no Ray cluster can be used at nonsense: .*nonsense"):
        OnRay("nonsense", ONE_CORE)


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, model: Model, rows: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_module, "find_spec", lambda name: None if name == "ray" else object())
    with pytest.raises(MissingExtraError, match=r"pip install 'eightfold\[ray\]'"):
        predict(model(), rows, tmp_path / "out.npz", runtime=ONE_CORE, cluster="auto")
    assert not (tmp_path / "out.npz.partial").exists()
