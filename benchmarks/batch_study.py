"""What large batches cost, with a plain recipe and with ours: python benchmarks/batch_study.py cifar.npz

The plain recipe is Adam at Keras's rate whatever the batch, batch norms with Keras's momentum, and no statistics
recomputed: a script in which only the batch size is raised. Two tasks, with two and with three classes, are made of
CIFAR-10 pictures; every network is trained once for each seed, which parts the pictures anew. It goes on where it was
interrupted, from the logs in its work folder, and writes its table into docs/benchmarks.md after each seed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cifar_files
import report

from eightfold.bench import this_machine
from eightfold.data.labelled import read_labelled
from eightfold.data.training_data import training_data
from eightfold.training.study import Outcome, batch_study

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
TASKS = {
    "binary": ("animal=cat+horse,vehicle=automobile+ship", 2400),
    "three classes": ("automobile,bird,ship", 1800),
}
"""The classes of each, as `cifar_files` reads them, and the number of pictures."""
PLAIN, OURS = "plain", "ours"
BUSY = 1.5
"""Programs that want to run, for each core, above which others than the study must have been among them."""
HEADINGS = (
    "task",
    "batch",
    "s an epoch, plain",
    "s an epoch, ours",
    "accuracy, plain",
    "accuracy, ours",
    "drop, plain",
    "drop, ours",
)


def main() -> None:
    options = arguments()
    for task in options.tasks:
        outcomes: list[Outcome] = []
        for seed in range(options.seeds):
            outcomes += studied(task, seed, options)
            report.record("batch-study", rows(task, outcomes, options), key=("task", "batch", "on"))
            report.write_between(options.document, "batch-study", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="an .npz file of CIFAR-10; see benchmarks/cifar_files.py")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 512, 1024])
    parser.add_argument("--net", default="training_nets:resnet18_slim", help="as eightfold train --model takes it")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--count", type=int, help="pictures of each task; by default as many as it is made for")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("build/batch-study"),
        help="keeps pictures and logs; in a new one everything is trained, and timed, again",
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="has a place for the table")
    return parser.parse_args()


def studied(task: str, seed: int, options: argparse.Namespace) -> list[Outcome]:
    """All networks of a task for one seed; what its log has already is not trained again."""
    home = options.work_dir / task.replace(" ", "-")
    classes, count = TASKS[task]
    size = (options.image_size, options.image_size)
    pictures = home / f"pictures-{options.image_size}-{options.count or count}"
    if not pictures.exists():
        cifar_files.write(options.source, pictures, cifar_files.parts_of(classes), options.count or count, size)
    study = batch_study(
        training_data(pictures, partial(read_labelled, size=options.image_size), seed=seed),
        options.net,
        options.batch_sizes,
        this_machine(),
        epochs=options.epochs,
        seeds=(seed,),
        output=home / f"seed-{seed}",
        on_outcome=lambda one: print(f"{task}: {one}", file=sys.stderr, flush=True),
    )
    return list(study.outcomes)


def rows(task: str, outcomes: list[Outcome], options: argparse.Namespace) -> list[report.Row]:
    """One for each batch size, with the outcomes of all seeds."""
    context = report.context()
    return [
        {
            "task": task,
            "batch": size,
            "outcomes": [asdict(one) for one in outcomes if one.batch_size == size],
            "classes": TASKS[task][0],
            "pictures": options.count or TASKS[task][1],
            "net": options.net.rpartition(":")[2],
            "image_size": options.image_size,
            "epochs": options.epochs,
            **context,
        }
        for size in dict.fromkeys(one.batch_size for one in outcomes)
    ]


def table() -> str:
    """All that was recorded, a table for each machine."""
    recorded = report.read("batch-study")
    parts = []
    for machine in dict.fromkeys(one["on"] for one in recorded):
        on_it = [one for one in recorded if one["on"] == machine]
        lines = [
            line(one, on_it) for one in sorted(on_it, key=lambda one: (list(TASKS).index(one["task"]), one["batch"]))
        ]
        parts.append(f"{report.table(HEADINGS, lines)}\n{about(on_it)}")
    return "\n".join(parts)


def line(row: report.Row, on_it: list[report.Row]) -> tuple[str, ...]:
    """The row of a batch size; drops are against the better recipe at the smallest batch."""
    smallest = min((one for one in on_it if one["task"] == row["task"]), key=lambda one: int(one["batch"]))
    best = max((accuracies(smallest, how) for how in (PLAIN, OURS)), key=statistics.mean)
    return (
        row["task"],
        str(row["batch"]),
        *(f"{statistics.median(seconds(row, how)):.2f}" for how in (PLAIN, OURS)),
        *(spread(accuracies(row, how), "{:.1%}") for how in (PLAIN, OURS)),
        *(drop(best, accuracies(row, how)) for how in (PLAIN, OURS)),
    )


def accuracies(row: report.Row, how: str) -> list[float]:
    return [one["accuracy"] for one in row["outcomes"] if one["how"] == how]


def seconds(row: report.Row, how: str) -> list[float]:
    return [one["seconds_per_epoch"] for one in row["outcomes"] if one["how"] == how]


def drop(best: list[float], own: list[float]) -> str:
    """In points, seed by seed."""
    return spread([100 * (was - now) for was, now in zip(best, own, strict=False)], "{:.1f}")


def spread(values: list[float], form: str) -> str:
    """The mean, with the lowest and the highest."""
    mean, low, high = (form.format(one) for one in (statistics.mean(values), min(values), max(values)))
    return f"{mean} ({low} to {high})"


def about(on_it: list[report.Row]) -> str:
    """What the figures of a machine were made with."""
    tasks = {
        f"{one['task']}: {one['classes']}, {one['pictures']} pictures, seeds: {len(accuracies(one, OURS))}"
        for one in on_it
    }
    made = {f"{one['net']}, {one['image_size']} pixels, {one['epochs']} epochs" for one in on_it}
    versions = {f"{name} {number}" for one in on_it for name, number in one["versions"].items()}
    commands = {f"`{one['command']}`" for one in on_it}
    said = [{on_it[0]["on"]}, tasks, made, versions, commands]
    busy = any(one["machine"]["load"] > BUSY * one["machine"]["cores"] for one in on_it)
    noise = " Other programs ran meanwhile: seconds are rough." if busy else ""
    return "; ".join(", ".join(sorted(one)) for one in said) + f".{noise}\n"


if __name__ == "__main__":
    main()
