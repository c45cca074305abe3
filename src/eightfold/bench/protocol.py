"""JSON lines between the suite and the process that holds one model; standard library only.

A worker is a process that reads requests from its standard input and answers each with one line:

    {"do": "load", "model": ..., "batch_size": ..., ...}   ->  {"versions": {...}}
    {"do": "warm_up", "limit": seconds}                     ->  {"runs": n, "seconds": of one run}
    {"do": "time", "seconds": at least, "least": runs}      ->  {"seconds": [...]}
    {"do": "memory"}                                        ->  {"peak_mb": ...}

A request that the worker refuses is answered by {"error": sentence}; any other failure ends the process with
its traceback on standard error. The end of its input ends the worker. Whatever speaks this protocol can be
measured beside TensorFlow: `benchmarks/peers` has workers for other runtimes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Job", "Refusal", "Run", "peak_memory_mb", "run_times", "serve", "warm_up"]

Run = Callable[[], object]
"""Runs the model once on one batch and returns when its outputs are there."""

Load = Callable[["Job"], tuple[Run, Mapping[str, str]]]
"""Loads a model and returns how to run it, and the versions of what runs it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to load.

    Attributes:
        model: path of the model.
        batch_size: images in a batch.
        intra: threads inside one operation; None leaves it to the runtime.
        inter: operations at a time; None leaves it to the runtime.
        signature: the SavedModel signature to run.
        feeds: an .npz file with one array for each input, or None for synthetic input.
    """

    model: str
    batch_size: int = 1
    intra: int | None = None
    inter: int | None = None
    signature: str = "serving_default"
    feeds: str | None = None

    def request(self) -> dict[str, Any]:
        """The job as the request that loads it."""
        return {"do": "load", **asdict(self)}


class Refusal(Exception):
    """The model or the data cannot be used, for a reason that one sentence tells."""


def warm_up(run: Run, limit: float, block: int = 3, tolerance: float = 0.03) -> tuple[int, float]:
    """Runs until the best of a block of runs is no better than the best before it, or for `limit` seconds.

    Returns:
        How often it ran, and the seconds of the fastest run.
    """
    start = time.perf_counter()
    run()  # traces, optimises, packs weights: belongs to loading
    runs, best = 1, float("inf")
    while time.perf_counter() - start < limit:
        fastest = min(run_times(run, 0, block))
        runs += block
        settled = fastest > best * (1 - tolerance)
        best = min(best, fastest)
        if settled:
            break
    return runs, best if runs > 1 else min(run_times(run, 0, 1))


def run_times(run: Run, seconds: float, least: int) -> list[float]:
    """The seconds of each of at least `least` runs, repeated until `seconds` have passed."""
    times: list[float] = []
    total = 0.0
    while len(times) < least or total < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
        total += times[-1]
    return times


def peak_memory_mb() -> float:
    """The most resident memory this process has held, in MB (10^6 bytes)."""
    # Not getrusage: a child's ru_maxrss starts at what its parent held when it was forked.
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no line VmHWM, the peak of resident memory")


def serve(load: Load) -> None:
    """Answers requests until the input ends.

    What libraries print to standard output goes to standard error: the answers have the pipe for themselves.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loaded: list[Run] = []
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), load, loaded)
        except Refusal as reason:
            answer = {"error": str(reason)}
        print(json.dumps(answer), file=answers)


def _answer(request: dict[str, Any], load: Load, loaded: list[Run]) -> dict[str, Any]:
    match request.pop("do"):
        case "load":
            run, versions = load(Job(**request))
            loaded[:] = [run]
            return {"versions": dict(versions)}
        case "warm_up":
            runs, seconds = warm_up(loaded[0], **request)
            return {"runs": runs, "seconds": seconds}
        case "time":
            return {"seconds": run_times(loaded[0], **request)}
        case "memory":
            return {"peak_mb": peak_memory_mb()}
        case unknown:
            raise Refusal(f"the request {unknown!r} is unknown; expected load, warm_up, time or memory")
