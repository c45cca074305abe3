"""`eightfold.tune`: the settings that run a model fastest on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from eightfold.bench.budget import Budget, seconds_of
from eightfold.bench.journal import Journal
from eightfold.bench.machine import this_machine
from eightfold.errors import ModelError, OutputError
from eightfold.running.file import place, read, write
from eightfold.running.settings import Mode
from eightfold.tuning.candidate import Aim
from eightfold.tuning.feeds import stored
from eightfold.tuning.processes import Processes
from eightfold.tuning.race import Found
from eightfold.tuning.request import Request, versions
from eightfold.tuning.result import Tuning, trial_of, trials_of
from eightfold.tuning.search import exhaustive as tried_all
from eightfold.tuning.search import searched
from eightfold.tuning.space import BATCH_SIZES, Space
from eightfold.tuning.trials import Logged

__all__ = ["BUDGET", "tune"]

BUDGET = "10m"

Progress = Callable[[str, int, "int | None"], None]


def tune(  # noqa: PLR0913  (one argument for each option)
    model: str | os.PathLike[str],
    *,
    mode: Mode = "latency",
    max_latency_ms: float | None = None,
    budget: float | str | None = BUDGET,
    batch_sizes: Sequence[int] = (),
    int8: str | os.PathLike[str] | None = None,
    precision: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    data: Any = None,
    preprocess: str | None = None,
    signature: str = "serving_default",
    output: str | os.PathLike[str] | None = None,
    trials: str | os.PathLike[str] | None = None,
    resume: bool = False,
    exhaustive: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Searches for the settings that run a model fastest here, and keeps them with the model.

    Threads, instances and their cores, batch size, oneDNN's settings, memory allocator and, where asked for, the form
    of the model are tried in processes of their own, in turns. Ctrl-C or a spent budget ends with the best so far.

    Args:
        model: a SavedModel folder or a frozen `.pb`.
        mode: `latency`, one batch as soon as possible, or `throughput`, as many images in a second as possible.
        max_latency_ms: in throughput mode, what the 90th percentile of the times of batches may reach.
        budget: how long it may take, such as "10m" or 600 (seconds); None for as long as it takes.
        batch_sizes: to try; 1 for latency, and 1, 4, 8 and 32 for throughput when left out.
        int8: the 8-bit model that was made from `model`: tried beside it.
        precision: which forms to try, of "fp32" (a float model as it is), "bf16" (TensorFlow's own, which changes the
            results) and "int8"; when left out the model as it is, and `int8` where that is given.
        env: further environment variables to try.
        data: what the model is fed with; see `calibrate`. Synthetic input when left out.
        preprocess: for pictures; see `calibrate`.
        signature: which to call.
        output: the file for the settings; `assets.extra/runtime.json` of the model when left out.
        trials: the file for the turns that were measured; beside the model when left out.
        resume: whether to go on with what is in that file.
        exhaustive: try all combinations, all with the same number of turns: takes hours.
        progress: told about each turn.

    Returns:
        The best settings, TensorFlow's own beside them, all trials, and where the settings are kept.

    Raises:
        ModelError: there is no such model, its file of settings is damaged, or no candidate could run it.
        RecipeError: a value makes no sense.
        DataError: the data does not fit, or the file of turns is of another search.
        PlatformError: bf16 was asked for on a CPU that does not have it.
        OutputError: the result cannot be written.
        KeyboardInterrupt: Ctrl-C before anything was measured.
    """
    start = time.monotonic()
    seconds = None if budget is None else seconds_of(budget)
    path, beside = Path(model), None if int8 is None else Path(int8)
    aim = Aim(mode, max_latency_ms)
    asked = Request(path, mode, beside, tuple(precision), tuple(batch_sizes), env or {}, aim, budget)
    file = Path(output) if output is not None else place(path)
    _check_writable(file)
    log = Path(trials) if trials is not None else _log_of(path, mode, output)
    space = asked.space()
    identity = asked.digest(space, signature, str(data), preprocess)
    journal = Journal(log, {"model": identity, "origin": str(path), "mode": mode}, resume=resume)
    tell = progress or (lambda *_: None)
    largest = max(asked.batch_sizes, default=max(BATCH_SIZES))
    with (
        stored(path, signature, data, preprocess, largest) as feeds,
        Processes(asked.paths, signature, feeds, Budget(seconds)) as processes,
    ):
        search = tried_all if exhaustive else searched
        found = search(space, asked.aim, Logged(processes, journal, log), lambda turns: tell("tune", turns, None))
    result = _result(asked, space, found, time.monotonic() - start, processes, log)
    return result.at(_kept(result, file))


def _result(asked: Request, space: Space, found: Found, seconds: float, processes: Processes, log: Path) -> Tuning:
    """The outcome of a search.

    Raises:
        ModelError: no candidate could run the model.
        KeyboardInterrupt: Ctrl-C before anything was measured.
    """
    best = found.best
    if best is None:
        raise _nothing(found, asked.model)
    default = space.default.but(batch_size=best.runtime.batch_size)
    trials = trials_of(found, best, default)
    return Tuning(
        model=asked.model,
        mode=asked.mode,
        max_latency_ms=asked.aim.max_latency_ms,
        reached=found.standing.excess(best) <= 1,
        best=trials[0],
        default=trial_of(found, default, default) if default in found.standing.samples else None,
        trials=tuple(trials),
        ended=found.ended,
        seconds=seconds,
        started=processes.started,
        machine=this_machine(),
        versions=dict(processes.versions) or versions(),  # empty where all turns were in the log
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=asked.command(),
        int8=asked.int8,
        log=log,
    )


def _nothing(found: Found, model: Path) -> BaseException:
    if found.ended == "interrupted":
        return KeyboardInterrupt()
    reason = next((failure.reason for failure in found.failures.values()), "the budget was spent before the first turn")
    return ModelError(f"no settings were found for {model}: {reason}")


def _kept(result: Tuning, file: Path) -> Path:
    """Writes the settings to their file; returns it."""
    folder = result.model if file == place(result.model) and result.model.is_dir() else file.parent
    other = result.int8 if result.best.variant == "int8" and result.int8 else None
    tuned = result.tuned(None if other is None else os.path.relpath(other, folder))
    return write(result.model if file == place(result.model) else file, result.mode, tuned)


def _check_writable(file: Path) -> None:
    """Says at once what writing would only say after minutes of work.

    Raises:
        OutputError: it cannot be written.
        ModelError: the settings that are there, of another mode perhaps, are damaged.
    """
    if file.suffix != ".json":
        raise OutputError(f"the settings are written to a .json file, not to {file}")
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise OutputError(f"{file} cannot be written: {above} is not a folder that may be written to")
    if file.is_dir():
        raise OutputError(f"{file} cannot be written: it is a folder")
    if file.exists():
        read(file)


def _log_of(model: Path, mode: Mode, output: str | os.PathLike[str] | None) -> Path:
    """Beside what is written: net.latency.jsonl."""
    beside = Path(os.path.abspath(model)) if output is None else Path(output)
    return beside.with_name(f"{beside.name.removesuffix('.json')}.{mode}.jsonl")
