"""Measures `eightfold predict`: python benchmarks/predicting.py MODEL --images build/images

speed    rows/s over pictures on disk, in several forms, against the same settings on synthetic input in memory
scaling  rows/s of 1 instance to one on every core, and what each core then gives
kills    a worker is killed at a random moment of a run, again and again: the file must stay the same, byte for byte

The pictures are written by `benchmarks/images.py`. Synthetic input has its turns before and after each run, so that a
slow minute of the machine falls on both.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shlex
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import report
from picture_forms import BYTES, JPEGS, RECORDS, in_form

from eightfold.bench import Runtime, Subject, this_machine
from eightfold.bench.instances import Instances
from eightfold.prediction.predict import Predictions, predict
from eightfold.prediction.settings import settled
from eightfold.system.topology import topology

DOCUMENT = Path(__file__).parents[1] / "docs/benchmarks.md"
KEY = ("what", "model", "form", "instances")


def main() -> None:
    options = arguments()
    runtime = settled(options.model, batch_size=options.batch_size).runtime
    with Bench(options, runtime) as bench:
        for what in options.what:
            rows = {"speed": bench.speed, "scaling": bench.scaling, "kills": bench.kills}[what]()
            report.record("predicting", rows, KEY)
    report.write_between(DOCUMENT, "predicting", tables())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a SavedModel for pictures; its run-time settings are used")
    parser.add_argument("--name", help="how tables call it; by default as its folder")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--preprocess", help="what is done to their pixels")
    parser.add_argument("--work-dir", type=Path, default=Path("build/predicting"))
    parser.add_argument(
        "--what", nargs="+", choices=("speed", "scaling", "kills"), default=["speed", "scaling", "kills"]
    )
    parser.add_argument("--forms", nargs="+", choices=(JPEGS, RECORDS, BYTES), default=[JPEGS, RECORDS, BYTES])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1, help="how often each form is measured")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn of synthetic input")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--trial-rows", type=int, default=2000)
    return parser.parse_args()


class Bench:
    """What all measurements share. Use it as a context manager.

    The instances that run synthetic input stay alive between their turns, idle.
    """

    def __init__(self, options: argparse.Namespace, runtime: Runtime) -> None:
        self._options = options
        self._runtime = runtime
        self._output = options.work_dir / "out.npz"
        self._forms = {form: in_form(form, options.images, options.work_dir) for form in options.forms}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._output.unlink(missing_ok=True)

    def speed(self) -> Iterator[report.Row]:
        """Each form of data, between two turns of synthetic input."""
        for form, data in self._forms.items():
            rounds = [self._round(self._runtime, data, self._options.rows) for _ in range(self._options.rounds)]
            yield self._row("speed", form, self._runtime.instances, rounds)

    def scaling(self) -> Iterator[report.Row]:
        """1 instance to one on each core, over data that costs nothing to decode."""
        data = self._forms[BYTES]
        for instances in range(1, topology().usable // (self._runtime.cores or 1) + 1):
            runtime = replace(self._runtime, instances=instances)
            rows = self._options.rows * instances // self._runtime.instances
            rounds = [self._round(runtime, data, rows) for _ in range(self._options.rounds)]
            yield self._row("scaling", BYTES, instances, rounds)

    def kills(self) -> Iterator[report.Row]:
        """Kills a worker at a random moment of each trial and compares the files."""
        data = self._forms[JPEGS]
        chance = random.Random(self._options.trials)
        whole = self._predict(self._runtime, data, self._options.trial_rows)
        expected, deaths, same = self._digest(), 0, 0
        span = whole.seconds.start + whole.seconds.compute
        for trial in range(self._options.trials):
            with _killed_after(span * chance.random(), chance):
                done = self._predict(self._runtime, data, self._options.trial_rows)
            deaths += done.deaths
            same += self._digest() == expected
            print(
                f"trial {trial + 1}: {done.deaths} workers died, {same} of {trial + 1} files are the same", flush=True
            )
        found = {"trials": self._options.trials, "deaths": deaths, "same": same, "rows": whole.rows}
        yield {**self._about("kills", JPEGS, self._runtime.instances), **found}

    def _round(self, runtime: Runtime, data: Path, rows: int) -> dict[str, float]:
        with Instances(Subject("synthetic", self._options.model, runtime=runtime)) as instances:
            instances.load("serving_default", None, 10.0)
            before = instances.turn(self._options.seconds, 3).images_per_second
            done = self._predict(runtime, data, rows)
            after = instances.turn(self._options.seconds, 3).images_per_second
        one = {
            "synthetic": (before + after) / 2,
            "spread": abs(before - after) / (before + after) * 2,
            "computing": done.rows_per_second,
            "whole": done.rows / done.seconds.whole,
            "rows": done.rows,
        }
        print(
            f"{runtime.instances} instances, {data.name}: " + ", ".join(f"{k} {v:.3g}" for k, v in one.items()),
            flush=True,
        )
        return one

    def _predict(self, runtime: Runtime, data: Path, rows: int) -> Predictions:
        return predict(
            self._options.model,
            data,
            self._output,
            runtime=runtime,
            instances=runtime.instances,
            samples=rows,
            preprocess=self._options.preprocess if data.suffix != ".npy" else None,
            overwrite=True,
        )

    def _digest(self) -> str:
        return hashlib.blake2b(self._output.read_bytes()).hexdigest()

    def _row(self, what: str, form: str, instances: int, rounds: list[dict[str, float]]) -> report.Row:
        median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        return {**self._about(what, form, instances), **median, "rounds": rounds}

    def _about(self, what: str, form: str, instances: int) -> report.Row:
        import tensorflow as tf

        return {
            "what": what,
            "model": self._options.name or self._options.model.name,
            "form": form,
            "instances": instances,
            "runtime": replace(self._runtime, instances=instances).to_json(),
            "machine": asdict(this_machine()),
            "versions": {"tensorflow": tf.__version__, "numpy": np.__version__},
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        }


@contextmanager
def _killed_after(seconds: float, chance: random.Random) -> Iterator[None]:
    """Kills one of the workers of this process so many seconds after the block has begun."""

    def kill() -> None:
        while not over.is_set():
            if time.monotonic() > until and (workers := list(_workers())):
                os.kill(chance.choice(workers), signal.SIGKILL)
                return
            over.wait(0.02)

    over, until = threading.Event(), time.monotonic() + seconds
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _workers() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"eightfold.prediction.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield int(child)


def tables() -> str:
    """All that was recorded, for people."""
    found = report.read("predicting")
    parts = []
    if speed := [row for row in found if row["what"] == "speed"]:
        headings = (
            "model",
            "data",
            "rows",
            "synthetic, rows/s",
            "predict, rows/s",
            "share",
            "share with start and end",
        )
        parts.append(report.table(headings, [_speed_line(row) for row in speed]))
    if scaling := [row for row in found if row["what"] == "scaling"]:
        headings = ("model", "instances", "synthetic, rows/s", "predict, rows/s", "efficiency of a core")
        parts.append(report.table(headings, [_scaling_line(row, scaling) for row in scaling]))
    parts += [_kills_line(row) for row in found if row["what"] == "kills"]
    parts += sorted({_context(row) for row in found})
    return "\n".join(parts)


def _speed_line(row: report.Row) -> tuple[str, ...]:
    shares = (f"{row[name] / row['synthetic']:.1%}" for name in ("computing", "whole"))
    return (
        row["model"],
        row["form"],
        f"{row['rows']:.0f}",
        f"{row['synthetic']:.1f}",
        f"{row['computing']:.1f}",
        *shares,
    )


def _scaling_line(row: report.Row, rows: list[report.Row]) -> tuple[str, ...]:
    one = next(other for other in rows if other["model"] == row["model"] and other["instances"] == 1)
    share = row["computing"] / row["instances"] / one["computing"]
    return row["model"], str(row["instances"]), f"{row['synthetic']:.1f}", f"{row['computing']:.1f}", f"{share:.1%}"


def _kills_line(row: report.Row) -> str:
    return (
        f"{row['model']}: a worker killed at a random moment of {row['trials']} runs over {row['rows']} rows: "
        f"{row['deaths']} died, {row['same']} of {row['trials']} files are the same as without.\n"
    )


def _context(row: dict[str, Any]) -> str:
    machine, how = row["machine"], ", ".join(f"{name} {value}" for name, value in row["runtime"].items())
    return (
        f"{row['model']}: {how}; {machine['cpu']}, {machine['cores']} cores, "
        f"TensorFlow {row['versions']['tensorflow']}, {row['when'][:10]}: `{row['command']}`\n"
    )


if __name__ == "__main__":
    main()
