"""Computes shards on a Ray cluster: the side of the process that wants the output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from eightfold.errors import EightfoldError, MissingExtraError, PlatformError
from eightfold.prediction import local
from eightfold.prediction.job import Done, Shard
from eightfold.prediction.ray_instance import error_of
from eightfold.running.process import Process, WorkerDeath, this_eightfold
from eightfold.running.settings import Runtime

__all__ = ["OnRay"]

DRIVER = (sys.executable, "-m", "eightfold.prediction.ray_driver")
NEEDED = ("ray", "pandas", "pyarrow")

CONNECT = 20.0
"""Seconds until an address counts as unreachable."""


class OnRay:
    """A cluster that computes shards. Use it as a context manager: its actors end with the block.

    Args:
        address: HOST:PORT of the cluster's head, or `auto` for the cluster that this machine is in.
        runtime: threads, cores and environment of each instance.
        instances: the most of them; None makes as many as the cluster has room for.

    Attributes:
        instances: how many there is room for, known as soon as `run` has begun.
        notes: what the user should know of the cluster, likewise.

    Raises:
        MissingExtraError: Ray is not installed here.
        PlatformError: no cluster answers at the address, or it runs another Ray or Python.
    """

    def __init__(self, address: str, runtime: Runtime, instances: int | None = None) -> None:
        if any(find_spec(name) is None for name in NEEDED):
            raise MissingExtraError("ray[data]", "ray", "predict --cluster")
        self.instances = instances or 0
        self.notes: tuple[str, ...] = ()
        self._address = address
        self._runtime = runtime
        self._most = instances
        self._driver = _Driver("the driver of the Ray cluster", DRIVER, this_eightfold())
        try:
            self._ask("connect", address=address, seconds=CONNECT)
        except BaseException:
            self._driver.end()
            raise

    def __enter__(self) -> OnRay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.end()

    def run(self, job: Path, folder: Path, shards: Sequence[Shard], done: Callable[[Done], None]) -> None:
        """Computes all shards; see `local.Workers.run`.

        Raises:
            EightfoldError: an instance refused a shard, or several died over the same one.
            PlatformError: a node does not see the files of the job, or has other versions; or the cluster is lost.
        """
        answer = self._ask(
            "compute",
            job=str(job),
            folder=str(folder),
            runtime=self._runtime.to_json(),
            directory=os.getcwd(),
            worker=local.WORKER[1:],
            instances=self._most,
            shards=[astuple(shard) for shard in shards],
        )
        self.instances, self.notes = answer["instances"], tuple(answer["notes"])
        numbered = {shard.number: shard for shard in shards}
        while answer := self._answer():
            done(Done(numbered[answer["shard"]], answer["skipped"], answer["deaths"]))

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        self._driver.send(do, **request)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            return self._driver.answer()
        except WorkerDeath as death:  # Ray ends its driver when the head or the node of this machine is gone
            raise PlatformError(
                f"the connection to the Ray cluster at {self._address} is lost; finished parts are kept for --resume: "
                f"{death}"
            ) from death


class _Driver(Process):
    """The process that is connected to the cluster."""

    def refusal(self, answer: Mapping[str, Any]) -> EightfoldError:
        return error_of(answer)
