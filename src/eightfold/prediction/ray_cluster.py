"""Shards computed by an actor pool of Ray Data, whatever of it dies."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from eightfold.errors import PlatformError
from eightfold.prediction.job import MAX_ATTEMPTS, Shard, gave_up
from eightfold.prediction.ray_instance import Instance, Task, error_answer, error_of
from eightfold.prediction.ray_nodes import Node, claim, look, room

__all__ = ["Pool", "compute", "connect", "surveyed", "watch"]

STRETCHES = 16
"""Shards are handed to each actor in about so many stretches: it reads ahead inside a stretch only, and the last actor
to finish should not keep all others waiting."""

LONGEST_STRETCH = 32
"""Shards: what may have to be computed again when an actor dies."""

KNOCK = 10.0
"""Seconds that a machine may take to accept a connection."""

SURVEY = 60.0
"""Seconds that a node may take to start a process that looks around."""

LOST = 60.0
"""Seconds to wait for a node when none is left."""


def connect(address: str) -> None:
    """Makes this process a driver of the cluster.

    Raises:
        PlatformError: there is none, or it runs another Ray or Python. It may also try for ever.
    """
    if address == "local":
        raise PlatformError(
            "the address local would start a cluster for this command alone; leave out --cluster to compute here, or "
            "give HOST:PORT of a cluster, or auto for the one that this machine is in"
        )
    if address.startswith("ray://"):
        raise PlatformError(
            f"the address {address} is one for Ray's client, which cannot run Ray Data; run the command on a machine "
            "of the cluster, with --cluster auto or the HOST:PORT of its head"
        )
    _knock(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        if "version mismatch" in said.lower():
            raise PlatformError(f"the cluster at {address} and this machine do not fit together: {said}") from error
        raise PlatformError(f"no Ray cluster can be used at {address}: {said}") from error


def _knock(address: str) -> None:
    """Asks whether anybody listens at HOST:PORT, which Ray does not find out in reasonable time."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return  # `auto`, or an address that Ray refuses by itself
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK).close()
    except (OSError, OverflowError) as error:
        raise PlatformError(f"no Ray cluster answers at {address}: {error}") from error


def surveyed(job: str, content: str) -> list[Node]:
    """All nodes that compute, each asked by a process on it; without those that go meanwhile.

    Raises:
        PlatformError: eightfold cannot be imported on one of them, or it does not answer; or all have gone.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for node in _computing():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = ray.remote(num_cpus=0, scheduling_strategy=there)(look).remote(job, content)
    found, gone = [], []
    for node in _computing():
        name = node["NodeManagerAddress"]
        if node["NodeID"] not in asked:  # it came just now
            continue
        try:
            seen = ray.get(asked[node["NodeID"]], timeout=SURVEY)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            gone.append(name)  # a node that has died stays on Ray's list for a while
            continue
        except ray.exceptions.RayError as error:
            raise PlatformError(
                f"the node {name} cannot run eightfold; install the same versions as on this machine on all of them: "
                f"{_cause(error)}"
            ) from error
        found.append(Node(name, node["NodeID"], node["Resources"]["CPU"], **seen))
    if gone and not found:
        raise PlatformError(f"no node of the cluster answers: {', '.join(gone)} have gone; expected one that is alive")
    return found


def _computing() -> list[dict[str, Any]]:
    """The nodes that are alive and have CPUs to give."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _cause(error: Exception) -> str:
    """The last line of a traceback from another machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@dataclass(slots=True)
class _Deaths:
    """How many workers and actors have died, as far as those tell that came after them."""

    workers: dict[tuple[str, int], int] = field(default_factory=dict)
    unseen: int = 0
    replaced: int = 0

    def note(self, answer: dict[str, Any]) -> int:
        """Takes in what an answer tells; returns how many have died so far."""
        self.workers[answer["actor"], answer["pid"]] = answer["deaths"]
        return sum(self.workers.values()) + self._replaced + self.unseen

    def lost(self) -> None:
        """Shards were lost since this was called last: an actor has died, even if none came after it."""
        self.unseen += self._replaced == self.replaced
        self.replaced = self._replaced

    @property
    def _replaced(self) -> int:
        return len(self.workers) - len({actor for actor, _ in self.workers})


def compute(
    task: Task,
    shards: Sequence[Shard],
    nodes: Sequence[Node],
    instances: int | None,
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Computes all shards; when this returns, their parts are written.

    An actor or a node that dies takes the shards with it that it was given: Ray is told not to try them again, since
    it would wait for ever for the node to come back. When everything else is done, what is missing is handed out
    anew, one by one, to the nodes that are left.

    Args:
        task: what the instances are told.
        shards: what is to be computed.
        nodes: who computes.
        instances: the most actors at a time; None makes as many as there is room for.
        say: is told of each shard.

    Raises:
        EightfoldError: an instance refused the job or a shard, or none survives it.
        PlatformError: no node is left.
    """
    missing = {shard.number: shard for shard in shards}
    deaths, fruitless, why = _Deaths(), 0, "the actors ended before they answered"
    pool = Pool(task, nodes, instances)
    while missing:
        before = len(missing)
        try:
            for answer in pool.answers(list(missing.values())):
                if "error" in answer:
                    raise error_of(answer)
                died = deaths.note(answer)
                for number, skipped in answer["done"]:
                    if missing.pop(number, None) is not None:
                        say({"shard": number, "skipped": skipped, "deaths": died})
        except _ray_errors() as error:
            why = _cause(error)
        if missing:
            deaths.lost()
        pool = replace(pool, alone=True)
        fruitless = fruitless + 1 if len(missing) == before else 0
        if fruitless == MAX_ATTEMPTS:
            raise gave_up(next(iter(missing.values())), MAX_ATTEMPTS, why)


@dataclass(frozen=True, slots=True)
class Pool:
    """Actors of Ray Data that each hold an instance.

    Attributes:
        task: what the instances are told.
        nodes: where they may be.
        instances: the most of them; None makes as many as there is room for.
        alone: no instance is given a shard before it has answered for the one before it, so that with an actor no
            shard is lost but the one that it was at.
    """

    task: Task
    nodes: Sequence[Node]
    instances: int | None
    alone: bool = False

    @property
    def size(self) -> int:
        """How many there can be on the nodes that are alive.

        Raises:
            PlatformError: none.
        """
        alive = {node["NodeID"] for node in _computing()}
        count = room([node for node in self.nodes if node.id in alive], self.task.runtime)
        return min(count, self.instances or count)

    def answers(self, shards: Sequence[Shard]) -> Iterator[dict[str, Any]]:
        """Has shards computed once: the answers of the instances, in any order. Those of actors that died are missing.

        Raises:
            PlatformError: no node is left.
            RayError: Ray gave up.
        """
        import ray.data

        _set_up(ray.data.DataContext.get_current())
        size = self.size
        stretch = 1 if self.alone else max(1, min(len(shards) // (size * STRETCHES), LONGEST_STRETCH))
        rows = [[astuple(shard) for shard in shards[at : at + stretch]] for at in range(0, len(shards), stretch)]
        stretches = ray.data.from_items([{"shards": json.dumps(row)} for row in rows], override_num_blocks=len(rows))
        answers = stretches.map_batches(
            Instance,
            fn_constructor_args=(self.task,),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(
                size=min(size, len(rows)), max_tasks_in_flight_per_actor=1 if self.alone else 2
            ),
            num_cpus=claim(self.nodes, self.task.runtime),
            max_restarts=-1,
            max_task_retries=0,
        )
        for row in answers.iter_rows():
            yield json.loads(row["answer"])


def _set_up(context: Any) -> None:
    """Makes Ray Data go on when an actor dies, tell of each row at once, and print nothing."""
    context.max_errored_blocks = -1
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _ray_errors() -> tuple[type[Exception], ...]:
    import ray.data.exceptions

    return ray.exceptions.RayError, ray.data.exceptions.SystemException


def watch(say: Callable[[dict[str, Any]], None]) -> None:
    """Ends this process when no node has been left for a while; to be run in a thread. Ray would wait for ever."""
    seen = time.monotonic()
    while time.monotonic() - seen < LOST:
        time.sleep(LOST / 10)
        with suppress(Exception):  # whatever it is, nobody has answered
            if _computing():
                seen = time.monotonic()
    say(error_answer(PlatformError(f"no node of the cluster has been left for {LOST:g} s; finished parts are kept")))
    os._exit(0)
