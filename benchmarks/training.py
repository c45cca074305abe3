"""Trains the same network from the same JPEG files in three ways: python benchmarks/training.py build/cifar resnet18

default environment   a plain Keras script that decodes with Pillow; oneDNN off, default threads
good script           image_dataset_from_directory's pipeline, cache and prefetch; oneDNN on, as TensorFlow comes
eightfold train       as it comes

Each in a process of its own, in turns, once for each seed; the three have the same validation pictures. Seconds are
those of the whole program, start to end. Writes the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import report

from eightfold.bench import this_machine
from eightfold.system.packages import tensorflow_version

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
OURS, GOOD, DEFAULT = "eightfold train", "good script", "default environment"
HEADINGS = (
    "network",
    "program",
    "whole, s",
    "runs",
    "first step, s",
    "peak GB",
    "accuracy",
    "eightfold train over it",
)


def main() -> None:
    options = arguments()
    for net in options.nets:
        runs: dict[str, list[dict[str, Any]]] = {who: [] for who in (DEFAULT, GOOD, OURS)}
        for seed in range(options.seeds):
            for who in list(runs)[:: 1 if seed % 2 else -1]:
                if who == DEFAULT and seed >= options.default_seeds:
                    continue
                runs[who].append(run(who, net, seed, options))
                print(f"{net}, seed {seed}, {who}: {runs[who][-1]}", flush=True)
        report.record("training", [row(net, who, runs, options) for who in runs if runs[who]], key=("net", "who"))
        report.write_between(DOCUMENT, "training", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures in class folders; benchmarks/cifar_files.py writes some")
    parser.add_argument("nets", nargs="+", choices=("resnet18", "resnet50"))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--default-seeds", type=int, default=1, help="of the default environment, which is slow")
    return parser.parse_args()


def run(who: str, net: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One program, from its start to its end: seconds, first step, peak memory, accuracy."""
    common = ["--image-size", str(options.image_size), "--epochs", str(options.epochs), "--seed", str(seed)]
    common += ["--batch-size", str(options.batch_size)]
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    if who != OURS:
        program = [sys.executable, str(HERE / "training_plain.py"), str(options.folder), net, *common]
        if who == DEFAULT:
            program, env = [*program, "--plain"], {**env, "TF_ENABLE_ONEDNN_OPTS": "0"}
        return _said(program, env)
    with tempfile.TemporaryDirectory() as place:
        program = [sys.executable, "-m", "eightfold.cli.app", "train", "-d", str(options.folder)]
        program += ["-m", f"training_nets:{net}", "-o", f"{place}/run", "--json", *common]
        began = datetime.now(timezone.utc)
        said = _said(program, env)
        seconds = (datetime.now(timezone.utc) - began).total_seconds()
    spent = said["seconds"]
    return {
        "accuracy": said["accuracy"],
        "seconds": seconds,
        "first_step": seconds - spent["whole"] + spent["data"] + spent["start"],
        "peak_gb": said["peak_memory_gb"],
        "precision": said["acceleration"]["precision"],
    }


def _said(program: Sequence[str], env: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(program)} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return said


def row(net: str, who: str, runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> report.Row:
    def median(name: str) -> float:
        return statistics.median(one[name] for one in runs[who])

    ratios = [other["seconds"] / ours["seconds"] for other, ours in zip(runs[who], runs[OURS], strict=False)]
    return {
        "net": net,
        "who": who,
        **{name: median(name) for name in ("seconds", "first_step", "peak_gb", "accuracy")},
        "accuracies": [one["accuracy"] for one in runs[who]],
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "runs": runs[who],
        "pictures": len(list(options.folder.rglob("*.jpg"))),
        "options": {name: str(value) for name, value in vars(options).items()},
        "machine": asdict(this_machine()),
        "versions": {"tensorflow": tensorflow_version(), "keras": version("keras")},
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def table() -> str:
    """All that was recorded, and on what."""
    rows = report.read("training")
    contexts = sorted(
        {
            f"{one['pictures']} JPEG files; {one['machine']['cpu']}, {one['machine']['cores']} cores; TensorFlow "
            f"{one['versions']['tensorflow']}, Keras {one['versions']['keras']}; `{one['command']}`\n"
            for one in rows
        }
    )
    return "\n".join([report.table(HEADINGS, [line(one) for one in rows]), *contexts])


def line(one: report.Row) -> tuple[str, ...]:
    ratio, accuracies = one["ratio"], one["accuracies"]
    return (
        one["net"],
        one["who"],
        f"{one['seconds']:.0f}",
        str(len(accuracies)),
        f"{one['first_step']:.1f}",
        f"{one['peak_gb']:.1f}",
        f"{one['accuracy']:.1%} ({min(accuracies):.1%}-{max(accuracies):.1%})",
        "1" if one["who"] == OURS else f"**{ratio['median']:.2f}x** ({ratio['low']:.2f}-{ratio['high']:.2f})",
    )


if __name__ == "__main__":
    main()
