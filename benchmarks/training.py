"""Trains the same network from the same JPEG files in five ways: python benchmarks/training.py build/cifar resnet18

`training_programs.py` says what the programs are. They run in turns, once for each seed, and all have the same
validation pictures. Each run is recorded when it is over: --resume goes on with what was interrupted, --programs runs
some of them. Ratios are formed between runs of the same seed. Writes the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import report
from training_programs import DEFAULT, GROWING, OURS, PROGRAMS, Task, run

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEADINGS = (
    "network",
    "program",
    "whole, s",
    "runs",
    "first step, s",
    "peak GB",
    "accuracy",
    f"times as fast as the {DEFAULT}",
    f"{OURS} over it",
    "growing over it",
)


def main() -> None:
    options = arguments()
    for net in options.nets:
        task = Task(options.folder, net, options.image_size, options.epochs, options.batch_size)
        rows = {who: begun(who, task, options.resume) for who in options.programs}
        for seed, who in turns(options):
            if seed in [one["seed"] for one in rows[who]["runs"]]:
                continue
            rows[who]["runs"].append({"seed": seed, **run(who, task, seed)})
            print(f"{net}, seed {seed}, {who}: {rows[who]['runs'][-1]}", flush=True)
            report.record("training", [rows[who]], key=("net", "who", "on"))
            report.write_between(options.document, "training", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures in class folders; benchmarks/cifar_files.py writes some")
    parser.add_argument("nets", nargs="+", choices=("resnet18", "resnet18_slim", "resnet50"))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--default-seeds", type=int, default=1, help="of the default environment, which is slow")
    parser.add_argument("--resume", action="store_true", help="run only what was not recorded with the same options")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="has a place for the table")
    return parser.parse_args()


def turns(options: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """Which seed and program comes when; the order of the programs changes with the seeds."""
    for seed in range(options.seeds):
        for who in options.programs[:: 1 if seed % 2 else -1]:
            if who != DEFAULT or seed < options.default_seeds:
                yield seed, who


def begun(who: str, task: Task, resume: bool) -> report.Row:
    """The row of a program, without runs, or with those that this machine has made of the same task."""
    settings = {name: value for name, value in asdict(task).items() if name not in ("folder", "net")}
    settings["pictures"] = sum(1 for _ in task.folder.rglob("*.jpg"))
    row = {"net": task.net, "who": who, "settings": settings, "runs": [], **report.context()}
    same = ("net", "who", "on", "settings")
    if resume:
        row["runs"] = [
            one
            for old in report.read("training")
            if all(old[name] == row[name] for name in same)
            for one in old["runs"]
        ]
    return row


def table() -> str:
    """All that was recorded: a table for each machine, and on what it was measured."""
    recorded = report.read("training")
    return "\n".join(on_machine([one for one in recorded if one["on"] == on]) for on in sorted(machines(recorded)))


def machines(rows: list[report.Row]) -> set[str]:
    return {one["on"] for one in rows}


def on_machine(rows: list[report.Row]) -> str:
    """The table of one machine."""
    ordered = sorted(rows, key=lambda one: (one["net"], PROGRAMS.index(one["who"])))
    made = {
        "{pictures} JPEG files, {image_size} pixels, {epochs} epochs, batches of {batch_size}".format(**one["settings"])
        for one in rows
    }
    versions = {f"{name} {number}" for one in rows for name, number in one["versions"].items()}
    commands = {f"`{one['command']}`" for one in rows}
    about = "; ".join(", ".join(sorted(one)) for one in (made, versions, commands))
    return f"{rows[0]['on']}:\n\n{report.table(HEADINGS, [line(one, rows) for one in ordered])}\n{about}.\n"


def line(row: report.Row, rows: list[report.Row]) -> tuple[str, ...]:
    """The medians of a program over its seeds, and its ratios to the others of the same task on this machine."""
    others = {one["who"]: one for one in rows if (one["net"], one["settings"]) == (row["net"], row["settings"])}
    accuracies = [one["accuracy"] for one in row["runs"]]
    seconds, first, peak = (median(row, name) for name in ("seconds", "first_step", "peak_gb"))
    return (
        row["net"],
        row["who"],
        f"{seconds:.0f}",
        str(len(accuracies)),
        f"{first:.1f}",
        f"{peak:.1f}",
        f"{statistics.median(accuracies):.1%} ({min(accuracies):.1%}-{max(accuracies):.1%})",
        times_as_fast(row, others.get(DEFAULT)),
        times_as_fast(others.get(OURS), row),
        times_as_fast(others.get(GROWING), row),
    )


def median(row: report.Row, name: str) -> float:
    return statistics.median(one[name] for one in row["runs"])


def times_as_fast(fast: report.Row | None, slow: report.Row | None) -> str:
    """The ratio of two programs over the seeds that both have; a dash where there are none."""
    seconds: list[dict[int, Any]] = [
        {one["seed"]: one["seconds"] for one in row["runs"]} if row else {} for row in (fast, slow)
    ]
    ratios = [seconds[1][seed] / seconds[0][seed] for seed in seconds[0] if seed in seconds[1]]
    if not ratios:
        return "-"
    if fast is slow:
        return "1"
    return f"**{statistics.median(ratios):.2f}x** ({min(ratios):.2f}-{max(ratios):.2f})"


if __name__ == "__main__":
    main()
