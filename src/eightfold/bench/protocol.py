"""JSON lines between the suite and the process that holds one model; standard library only.

A worker is a process that reads requests from its standard input and answers each with one line:

    {"do": "load", "model": ..., "batch_size": ..., ...}   ->  {"versions": {...}, "about": {...}}
    {"do": "warm_up", "limit": seconds}                     ->  {"runs": n, "seconds": of one run}
    {"do": "time", "seconds": at least, "least": runs}      ->  {"seconds": [[...], ...], "figures": [...]}
    {"do": "used"}                                          ->  {"peak_mb": ..., "cpu_seconds": ...}

The seconds are those of each run from its start to its outputs: one list where one batch is computed after the other,
as many lists as there are batches in flight where a runtime computes several at the same time. In a list each run
begins when the one before it has ended. The figures are what runs found out, one table of numbers for each run that
returns `Figures`: a step of training its loss. What a run that is `Told` has to say of itself, such as its precision,
is `about`, which may be left out. A request that the worker refuses is answered by {"error": sentence};
any other failure ends the process with its traceback on standard error. The end of its input ends the worker. Whatever
speaks this protocol can be measured beside TensorFlow: `eightfold.bench.peers` has workers for other runtimes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "Figures",
    "Job",
    "Overlapping",
    "Refusal",
    "Run",
    "Told",
    "lane_times",
    "peak_memory_mb",
    "run_times",
    "serve",
    "warm_up",
]

Run = Callable[[], object]
"""Runs the model once on one batch and returns when its outputs are there; what it returns counts if it is Figures."""


@runtime_checkable
class Overlapping(Protocol):
    """A run of which several are made at the same time; it times itself."""

    def __call__(self) -> object:
        """One run of each that may be under way at the same time."""

    def times(self, seconds: float, least: int) -> list[list[float]]:
        """What `lane_times` gives."""


@dataclass(frozen=True, slots=True)
class Told:
    """A run, and what there is to say of it in words, by name."""

    run: Run
    about: Mapping[str, str]

    def __call__(self) -> object:
        """Runs it."""
        return self.run()


Load = Callable[["Job"], tuple[Run, Mapping[str, str]]]
"""Loads a model and returns how to run it, and the versions of what runs it."""

Loaded: TypeAlias = "dict[Job, tuple[Run, Mapping[str, str]]]"
"""What a process has loaded; the last is the one that runs. What is loaded again, with another batch size in between,
is still there."""


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
        layout: "NHWC" or "NCHW": what TensorFlow brings the images of a float graph to; None leaves them.
        bfloat16: whether TensorFlow does float convolutions and products in bfloat16.
    """

    model: str
    batch_size: int = 1
    intra: int | None = None
    inter: int | None = None
    signature: str = "serving_default"
    feeds: str | None = None
    layout: str | None = None
    bfloat16: bool = False

    def request(self) -> dict[str, Any]:
        """The job as the request that loads it."""
        return {"do": "load", **asdict(self)}


class Figures(dict[str, float]):
    """What one run found out, by name: `loss`, for example."""


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
        fastest = _fastest(run, block)
        runs += block
        settled = fastest > best * (1 - tolerance)
        best = min(best, fastest)
        if settled:
            break
    return runs, best if runs > 1 else _fastest(run, 1)


def lane_times(run: Run, seconds: float, least: int) -> list[list[float]]:
    """The seconds of each of at least `least` runs: a list for each of those that are made at the same time."""
    return run.times(seconds, least) if isinstance(run, Overlapping) else [run_times(run, seconds, least)]


def run_times(run: Run, seconds: float, least: int) -> list[float]:
    """The seconds of each of at least `least` runs, one after the other, repeated until `seconds` have passed."""
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
    loaded: Loaded = {}
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), load, loaded)
        except Refusal as reason:
            answer = {"error": str(reason)}
        print(json.dumps(answer), file=answers)


def _answer(request: dict[str, Any], load: Load, loaded: Loaded) -> dict[str, Any]:
    match request.pop("do"):
        case "load":
            job = Job(**request)
            loaded[job] = loaded.pop(job) if job in loaded else load(job)  # now the last: the one that runs
            run, versions = loaded[job]
            return {"versions": dict(versions), "about": dict(run.about) if isinstance(run, Told) else {}}
        case "warm_up":
            runs, seconds = warm_up(_last(loaded), **request)
            return {"runs": runs, "seconds": seconds}
        case "time":
            figures: list[Figures] = []
            took = lane_times(_noting(_last(loaded), figures), **request)
            return {"seconds": took, "figures": figures}
        case "used":
            return {"peak_mb": peak_memory_mb(), "cpu_seconds": time.process_time()}
        case unknown:
            raise Refusal(f"the request {unknown!r} is unknown; expected load, warm_up, time or used")


def _fastest(run: Run, least: int) -> float:
    return min(map(min, lane_times(run, 0, least)))


def _last(loaded: Loaded) -> Run:
    return list(loaded.values())[-1][0]


def _noting(run: Run, figures: list[Figures]) -> Run:
    """The same run, whose figures are added to the list."""
    if isinstance(run, Overlapping):
        return run

    def noting() -> None:
        result = run()
        if isinstance(result, Figures):
            figures.append(result)

    return noting
