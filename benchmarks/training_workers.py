"""Times several workers of one core against one process with all of the cores: python benchmarks/training_workers.py

    resnet18 resnet50 --image-size 128 --batch-size 32 --workers 2 --rounds 5

Both make the same steps of training with the parts that `eightfold train` is made of: batches of changed pictures,
compiled steps, fused batch norms, float32, SGD with momentum. Each runs in fresh processes, pinned, in turns; what is
compared is the median step after the first few. Efficiency is formed in each round.

A worker's batch norms take the statistics of its share of a batch, and one process takes those of all of it, so that
their losses differ by construction. Losses are therefore compared with those of one process that goes through the same
shares one after the other, on as many cores as a worker has, and adds up their gradients. With another number of
threads kernels round otherwise, of which a deep network makes ever larger differences: that one process on one core
and on all of them differs as well is shown beside. These two are run once: they are not what is timed.

Writes the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import report

from eightfold.training.workers import launched

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
NETS = ("resnet18", "resnet50")
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
HEADINGS = (
    "network",
    "batch",
    "one process, images/s",
    "workers, images/s",
    "efficiency",
    "first and last loss",
    "largest difference of a loss",
    "the same of other threads",
)


def main() -> None:
    options = arguments()
    for net in options.nets:
        ones, several = [], []
        for number in range(options.rounds):
            turns = [(ones, 1), (several, options.workers)]
            for runs, workers in turns[:: -1 if number % 2 else 1]:
                runs.append(trained(net, workers, options.cores // workers, 1, options))
                print(f"{net}, round {number + 1}, {workers} at work: {speed(runs[-1], options):.1f}/s", flush=True)
        few, all_cores = (
            trained(net, 1, cores, options.workers, options)["losses"]
            for cores in (options.cores // options.workers, options.cores)
        )
        losses = {
            "losses": few,
            "loss_difference": max(apart(few, run["losses"]) for run in several),
            "threads_difference": apart(few, all_cores),
        }
        report.record("training-workers", [row(net, ones, several, losses, options)], key=("net", "batch_size", "side"))
        report.write_between(DOCUMENT, "training-workers", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", choices=NETS, default=list(NETS))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="of all workers together; a multiple of --workers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2, help="of all workers together, and of the one process")
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them")
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.batch_size % asked.workers or asked.cores % asked.workers:
        parser.error(f"--batch-size and --cores are shared by {asked.workers} workers; expected multiples of that")
    return asked


def trained(net: str, workers: int, cores: int, parts: int, options: argparse.Namespace) -> dict[str, Any]:
    """Trains once, in fresh processes; the seconds and the loss of each step, as worker 0 has seen them.

    Args:
        net: its name.
        workers: how many processes.
        cores: of each.
        parts: in which a process goes through its share of a batch, one after the other.
        options: of the program.
    """
    with tempfile.TemporaryDirectory() as place:
        task = {**vars(options), "net": net, "parts": parts, "result": f"{place}/result.json"}
        program = [sys.executable, str(HERE / "training_worker_steps.py"), json.dumps(task)]
        env = {} if ONEDNN in os.environ else {ONEDNN: "1"}  # TensorFlow leaves it off on some CPUs
        code = launched(workers, program, cores=cores, env=env, say=print)
        if code:
            raise SystemExit(f"{shlex.join(program)} failed with exit code {code}")
        found: dict[str, Any] = json.loads(Path(task["result"]).read_text())
    return found


def speed(run: Mapping[str, Any], options: argparse.Namespace) -> float:
    """Pictures in a second."""
    return options.batch_size / statistics.median(run["seconds"])


def row(
    net: str,
    ones: list[dict[str, Any]],
    several: list[dict[str, Any]],
    losses: dict[str, Any],
    options: argparse.Namespace,
) -> report.Row:
    speeds = [[speed(run, options) for run in runs] for runs in (ones, several)]
    ratios = [workers / one for one, workers in zip(*speeds, strict=True)]
    return {
        "net": net,
        "batch_size": options.batch_size,
        "side": options.image_size,
        "one": spread(speeds[0]),
        "workers": spread(speeds[1]),
        "efficiency": spread(ratios),
        **losses,
        "options": {name: value for name, value in vars(options).items() if name != "nets"},
        "onednn": os.environ.get(ONEDNN, "1"),
        **report.context(),
    }


def apart(one: list[float], other: list[float]) -> float:
    """The largest difference of two losses of the same step."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def spread(numbers: list[float]) -> dict[str, float]:
    return {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}


def table() -> str:
    """All that was recorded, and on what."""
    rows = report.read("training-workers")
    return "\n".join([report.table(HEADINGS, map(line, rows)), *dict.fromkeys(map(context, rows))])


def line(one: report.Row) -> tuple[str, ...]:
    efficiency, losses = one["efficiency"], one["losses"]
    return (
        f"{one['net']} at {one['side']} px",
        str(one["batch_size"]),
        _between(one["one"]),
        _between(one["workers"]),
        f"**{efficiency['median']:.1%}** ({efficiency['low']:.1%}-{efficiency['high']:.1%})",
        f"{losses[0]:.4f}, {losses[-1]:.4f}",
        f"{one['loss_difference']:.1e} in {len(losses)} steps",
        f"{one['threads_difference']:.1e}",
    )


def _between(numbers: Mapping[str, float]) -> str:
    return f"{numbers['median']:.1f} ({numbers['low']:.1f}-{numbers['high']:.1f})"


def context(one: report.Row) -> str:
    options, machine, versions = one["options"], one["machine"], one["versions"]
    return (
        f"{options['workers']} workers on {options['cores']} cores together, one process on as many; rounds: "
        f"{options['rounds']}, of {options['steps']} steps each after {options['warm_up']}; {machine['cpu']}, "
        f"{machine['cores']} cores; TensorFlow {versions['tensorflow']} with {ONEDNN}={one['onednn']}, Keras "
        f"{versions['keras']}; `{one['command']}`\n"
    )


if __name__ == "__main__":
    main()
