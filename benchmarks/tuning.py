"""Compares `eightfold tune` with trying all combinations: python benchmarks/tuning.py NAME=MODEL ... --mode latency

Both search the same space with the same turns; then the best of both take turns, and the ratio is formed inside each
round. Trying all takes an hour where there are many combinations: it goes on from its log after a kill.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import asdict
from pathlib import Path

import report

from eightfold.bench.budget import Budget
from eightfold.running.settings import Mode
from eightfold.tuning.candidate import Aim, Candidate, Sample
from eightfold.tuning.processes import Processes
from eightfold.tuning.result import Trial, Tuning
from eightfold.tuning.tune import tune

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ROUNDS = 15


def main() -> None:
    options = arguments()
    for name, model in (pair.split("=", 1) for pair in options.models):
        found = searched(Path(model), options, exhaustive=False)
        everything = searched(Path(model), options, exhaustive=True)
        ratios = duel(Path(model), options.mode, found.best, everything.best)
        row = recorded(name, options, found, everything, ratios)
        report.record("tuning", [row], key=("net", "mode"))
        print(report.table(HEADINGS, [line(row)]))
    if DOCUMENT.exists() and "<!-- bench:tuning -->" in DOCUMENT.read_text(encoding="utf-8"):
        report.write_between(DOCUMENT, "tuning", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL", help="how the table calls it, and where it is")
    parser.add_argument("--mode", choices=("latency", "throughput"), default="latency")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[])
    parser.add_argument("--work-dir", type=Path, default=Path("build/tuning"), help="keeps the logs of the searches")
    parser.add_argument("--resume", action="store_true", help="go on with both logs")
    return parser.parse_args()


def searched(model: Path, options: argparse.Namespace, *, exhaustive: bool) -> Tuning:
    """One search to its end; the model's own settings stay as they are."""
    kind = "all" if exhaustive else "tune"
    folder = options.work_dir / model.name
    folder.mkdir(parents=True, exist_ok=True)
    return tune(
        model,
        mode=options.mode,
        batch_sizes=options.batch_sizes,
        budget=None,
        output=folder / f"{kind}.json",
        resume=options.resume,
        exhaustive=exhaustive,
    )


def duel(model: Path, mode: Mode, one: Trial, other: Trial) -> list[float]:
    """How many times as good the first is, in each of some rounds; [1] where both are the same."""
    first, second = (Candidate(trial.variant, trial.settings) for trial in (one, other))
    if first == second:
        return [1.0]
    aim = Aim(mode)
    ratios = []
    with Processes({"fp32": model}, "serving_default", None, Budget()) as processes:
        for number in range(ROUNDS):
            order = (first, second) if number % 2 else (second, first)
            samples = {who: got for who, got in processes(order) if isinstance(got, Sample)}
            ratios.append(math.exp(aim.worth(samples[first]) - aim.worth(samples[second])))
    return ratios


def recorded(
    name: str, options: argparse.Namespace, found: Tuning, everything: Tuning, ratios: list[float]
) -> report.Row:
    return {
        "net": name,
        "mode": options.mode,
        "found": found.best.to_json(),
        "best": everything.best.to_json(),
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "over_default": found.best.to_json().get("over_default"),
        "seconds": found.seconds,
        "seconds_for_all": everything.seconds,
        "candidates": len(found.trials),
        "candidates_in_all": len(everything.trials),
        "machine": asdict(found.machine),
        "versions": dict(found.versions),
        "when": found.when,
        "command": f"python benchmarks/tuning.py {name}=MODEL --mode {options.mode}",
    }


HEADINGS = ("model", "for", "tried", "seconds", "of all", "seconds for all", "time", "found over best of all")


def line(row: report.Row) -> tuple[str, ...]:
    ratio = row["ratio"]
    return (
        row["net"],
        row["mode"],
        str(row["candidates"]),
        f"{row['seconds']:.0f}",
        str(row["candidates_in_all"]),
        f"{row['seconds_for_all']:.0f}",
        f"{row['seconds'] / row['seconds_for_all']:.1%}",
        f"**{ratio['median']:.2f}x** ({ratio['low']:.2f}-{ratio['high']:.2f})",
    )


def table() -> str:
    """All that was recorded, and on what."""
    rows = report.read("tuning")
    machines = sorted({f"{row['machine']['cpu']}, {row['machine']['cores']} cores" for row in rows})
    commands = sorted({f"`{row['command']}`" for row in rows})
    return f"{report.table(HEADINGS, [line(row) for row in rows])}\n{'; '.join(machines)}; {', '.join(commands)}.\n"


if __name__ == "__main__":
    main()
