"""The process that holds the connection to a Ray cluster: `python -m eightfold.prediction.ray_driver`. JSON lines:

    {"do": "connect", "address": ..., "seconds": limit}  ->  {}
    {"do": "compute", "job": file, "folder": ..., "runtime": {...}, "directory": ..., "worker": [...],
     "instances": n or null, "shards": [[number, start, stop], ...]}
                                                         ->  {"instances": n, "notes": [...]}
                                                             {"shard": number, "skipped": rows, "deaths": n} for each
                                                             {}

It is a process of its own since Ray ends its driver when it loses the cluster, writes what it likes to where it likes,
and tries for ever to reach an address. A request that is refused is answered by {"error": sentence, "kind": class of
the exception}. The end of the input ends the process at once, and with it all actors.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eightfold.errors import EightfoldError, PlatformError
from eightfold.prediction.job import Shard
from eightfold.prediction.ray_cluster import compute, connect, surveyed, watch
from eightfold.prediction.ray_instance import Task, error_answer
from eightfold.prediction.ray_nodes import check, notes, room, versions
from eightfold.running.settings import Runtime

__all__ = ["main"]

TOKENS = (
    "where the cluster asks for a token, this process needs it, too: RAY_AUTH_MODE=token, and the token in "
    "~/.ray/auth_token or RAY_AUTH_TOKEN"
)
"""Ray says by its log alone that a token is wrong or missing, and goes on trying."""

Say = Callable[[dict[str, Any]], None]


def main() -> None:
    """Serves the process that started this one until that closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Ray prints
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers)

    try:
        _connect(requests.get(), say)
        _compute(requests.get(), say)
    except EightfoldError as error:
        say(error_answer(error))


def _listen(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _connect(request: dict[str, Any], say: Say) -> None:
    address, seconds = request["address"], request["seconds"]
    limit = threading.Timer(seconds, _unreachable, (address, seconds, say))
    limit.daemon = True
    limit.start()
    connect(address)
    limit.cancel()
    say({})


def _unreachable(address: str, seconds: float, say: Say) -> None:
    """Ends the process from another thread: Ray cannot be stopped while it tries to connect."""
    say(error_answer(PlatformError(f"no Ray cluster answers at {address}, tried for {seconds:g} s; {TOKENS}")))
    os._exit(0)


def _compute(request: dict[str, Any], say: Say) -> None:
    runtime = Runtime.from_json(request["runtime"])
    nodes = surveyed(request["job"], Path(request["job"]).read_text(encoding="utf-8"))
    check(nodes, versions())
    count = room(nodes, runtime)
    say({"instances": min(count, request["instances"] or count), "notes": notes(nodes)})
    task = Task(request["job"], request["folder"], runtime, request["directory"], tuple(request["worker"]))
    shards = [Shard(*shard) for shard in request["shards"]]
    threading.Thread(target=watch, args=(say,), daemon=True).start()
    compute(task, shards, nodes, request["instances"], say)
    say({})


if __name__ == "__main__":
    main()
