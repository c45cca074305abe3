"""The programs that `training.py` compares: each trains one network on one folder of pictures, in a process of its own.

default environment      a plain Keras script that decodes with Pillow; oneDNN off, default threads
good script              image_dataset_from_directory's pipeline, cache and prefetch; oneDNN on, whatever the CPU
good script, two lines   that with ef.accelerate(model), and ef.data.image_folder(...) in place of its pipeline
eightfold train          as it comes: what to switch on it decides by itself
eightfold train, growing that with pictures that begin at half of their size: --progressive-resizing auto
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eightfold.running.process import this_eightfold

__all__ = ["DEFAULT", "GOOD", "GROWING", "OURS", "PROGRAMS", "TWO_LINES", "Task", "eightfold_train", "run"]

HERE = Path(__file__).parent
DEFAULT, GOOD = "default environment", "good script"
TWO_LINES, OURS, GROWING = "good script, two lines", "eightfold train", "eightfold train, growing"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
SCRIPTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    DEFAULT: (("--plain",), "0"),
    GOOD: ((), "1"),
    TWO_LINES: (("--two-lines",), "1"),
}
"""Of those that `training_plain.py` has: its options, and whether oneDNN is on."""
PROGRAMS = (*SCRIPTS, OURS, GROWING)


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained.

    Attributes:
        folder: pictures in class folders.
        net: a function of `training_nets`.
        image_size: height and width that the network sees.
        epochs: passes over the pictures.
        batch_size: pictures in a step.
    """

    folder: Path
    net: str
    image_size: int
    epochs: int
    batch_size: int


def run(who: str, task: Task, seed: int) -> dict[str, Any]:
    """One program from its start to its end.

    Returns:
        `seconds` of the whole program, `first_step` the seconds until the first step was done, `peak_gb` of memory
        (1e9 bytes), and the `accuracy` on the validation pictures.

    Raises:
        SystemExit: it failed; with its last words.
    """
    if who in (OURS, GROWING):
        return eightfold_train(task, seed, *(("--progressive-resizing", "auto") if who == GROWING else ()))
    options, onednn = SCRIPTS[who]
    program = [sys.executable, str(HERE / "training_plain.py"), str(task.folder), task.net, *_common(task, seed)]
    return _said([*program, *options], {**_environment(), ONEDNN: onednn})


def eightfold_train(task: Task, seed: int, *options: str) -> dict[str, Any]:
    """`eightfold train` from its start to its end, with further options; see `run`. It gives its `precision` too."""
    env = {name: value for name, value in _environment().items() if name != ONEDNN}
    with tempfile.TemporaryDirectory() as place:
        program = [sys.executable, "-m", "eightfold.cli.app", "train", "-d", str(task.folder)]
        program += ["-m", f"training_nets:{task.net}", "-o", f"{place}/run", "--json", *_common(task, seed), *options]
        began = time.perf_counter()
        said = _said(program, env)
        seconds = time.perf_counter() - began
    spent = said["seconds"]
    return {
        "accuracy": said["accuracy"],
        "seconds": seconds,
        "first_step": seconds - spent["whole"] + spent["data"] + spent["start"],
        "peak_gb": said["peak_memory_gb"],
        "precision": said["acceleration"]["precision"],
    }


def _common(task: Task, seed: int) -> list[str]:
    numbers = {"image-size": task.image_size, "epochs": task.epochs, "batch-size": task.batch_size, "seed": seed}
    return [text for name, number in numbers.items() for text in (f"--{name}", str(number))]


def _environment() -> dict[str, str]:
    """That of this process, in which the networks and this eightfold are found."""
    return {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{this_eightfold()['PYTHONPATH']}"}


def _said(program: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(program)} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return said
