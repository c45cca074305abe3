"""A Ray cluster of three nodes on this machine, the head without CPUs of its own, whose parts can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

MEMORY = 80_000_000
"""Bytes of each node's object store, about the least that Ray takes."""


class Loopback:
    """The cluster. Use it as a context manager."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # A short name, and not pytest's: that of a socket has at most 107 characters. In Ray's own folder, what
        # `auto` means would be overwritten.
        self._folder = tempfile.mkdtemp(prefix="ray-")
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=self._folder)
        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._started(), self._started()]

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.shutdown()
        del os.environ["RAY_TMPDIR"]
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def actors(self) -> list[int]:
        """The processes of the actors that compute."""
        raylets = [node.all_processes["raylet"][0].process.pid for node in self._nodes]
        return [pid for raylet in raylets for pid in children(raylet) if "ray::MapWorker" in command_line(pid)]

    @property
    def workers(self) -> list[int]:
        """The processes that the models run in."""
        return [worker for actor in self.actors for worker in children(actor)]

    def kill_node(self) -> None:
        """Kills a node with all that runs on it."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)

    def add_node(self) -> None:
        """Starts another node."""
        self._nodes.append(self._started())

    def _started(self) -> object:
        return self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY)


def kill(pid: int) -> None:
    """As the kernel does when memory is short."""
    os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """That of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]
