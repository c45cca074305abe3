"""Measures int8 against fp32 and OpenVINO, and writes the README's tables: python benchmarks/run.py

For each network: TensorFlow fp32 (frozen, and as Keras exports it), eightfold int8 and OpenVINO int8 (NNCF)
are measured in turns in one run, at batch 32 and batch 1. Peers get environments of their own in the work
folder.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import report
import tables
from models import ARCHITECTURES
from networks import EIGHTFOLD, OPENVINO_TOOL, Network
from rich.console import Console

from eightfold.bench import Comparison, Runtime, Settings, compare, render, this_machine

README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    options = arguments()
    console = Console()
    for name in options.models:
        network = Network(ARCHITECTURES[name], options.work_dir, options.photos)
        fp32, as_exported = network.exported()
        int8, ours = network.quantized(EIGHTFOLD, options.images, again=not options.keep)
        peer, theirs = network.quantized(OPENVINO_TOOL, options.images, again=False)
        record_quantization(name, {EIGHTFOLD.name: ours, OPENVINO_TOOL.name: theirs})
        for batch_size in options.batch_sizes:
            runtime = Runtime(batch_size, intra=options.threads, inter=options.inter)
            subjects = [replace(one, runtime=runtime) for one in (fp32, as_exported, int8, peer)]
            comparison = compare(subjects, Settings(rounds=options.rounds), command=command())
            console.print(render(comparison))
            report.record("throughput", rows(name, comparison), key=("net", "batch_size", "name"))
    report.write_between(README, "throughput", tables.throughput() + "\n" + tables.quantization())


def arguments() -> argparse.Namespace:
    parser = networks_parser(__doc__)
    parser.add_argument("--keep", action="store_true", help="do not quantize again what is in the work folder")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 1])
    parser.add_argument("--threads", type=int, default=2, help="inside an operation, for every subject")
    parser.add_argument("--inter", type=int, default=1, help="operations at a time in TensorFlow")
    parser.add_argument("--rounds", type=int, default=9)
    return parsed(parser)


def networks_parser(description: str | None) -> argparse.ArgumentParser:
    """What every script asks for that measures networks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(ARCHITECTURES)}; all by default")
    parser.add_argument("--work-dir", type=Path, default=Path("build/bench"), help="keeps models, settings and peers")
    parser.add_argument("--photos", type=Path, help="calibrate with this folder, not scikit-learn's photos")
    parser.add_argument("--images", type=int, default=100, help="how many to calibrate with")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the networks checked."""
    options = parser.parse_args()
    if unknown := sorted(set(options.models) - set(ARCHITECTURES)):
        parser.error(f"unknown model {unknown[0]}; expected {', '.join(ARCHITECTURES)}")
    options.models = options.models or list(ARCHITECTURES)
    return options


def command() -> str:
    """This run's command line, the same on every machine: without the folders of this one."""
    said = list(sys.argv[1:])
    for option in ("--work-dir", "--photos"):
        if option in said:
            del said[said.index(option) : said.index(option) + 2]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *said])


def rows(net: str, comparison: Comparison) -> list[report.Row]:
    """A row for each subject, with how much faster it is than each of the others, paired by round."""
    found = []
    for line in comparison.to_json().splitlines():
        row = json.loads(line)
        over = {one.name: asdict(comparison.ratio(row["name"], one.name)) for one in comparison.measurements}
        found.append({"net": net, "batch_size": row["runtime"]["batch_size"], **row, "over": over})
    return found


def record_quantization(net: str, found: dict[str, dict[str, Any]]) -> None:
    """Keeps what quantizing took with each tool."""
    context = {"machine": asdict(this_machine()), "command": command()}
    made = [{"net": net, "name": name, **row, **context} for name, row in found.items()]
    report.record("quantization", made, key=("net", "name"))


if __name__ == "__main__":
    main()
