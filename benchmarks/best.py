"""Measures every runtime at its best: python benchmarks/best.py [MODEL ...]

For each network TensorFlow fp32, eightfold int8 and the 8-bit models of OpenVINO, ONNX Runtime and LiteRT are first
given the settings that suit each best on this machine: TensorFlow by `eightfold tune`, whose file is kept with the
model, the others by the same races over the settings of `eightfold.bench.peers.best`. Then all take turns in one run,
once for latency (eightfold's model in bands, one for each core) and once for throughput, and so do the float model in a
default environment (oneDNN off, default threads, batch 1, as Keras exports it) and the 8-bit model as it is quantized
by default, with TensorFlow's default settings. Writes the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import report
import tables
from models import ARCHITECTURES
from networks import EIGHTFOLD, LITERT_TOOL, ONNXRUNTIME_TOOL, OPENVINO_TOOL, Network, Tool, in_bands
from rich.console import Console
from run import command, networks_parser, parsed, rows

from eightfold.bench import Runtime, Settings, Subject, compare, render
from eightfold.bench.baseline import default_environment
from eightfold.bench.budget import Budget
from eightfold.bench.peers import best
from eightfold.running.file import place, read
from eightfold.running.settings import Mode
from eightfold.system.allocators import installed
from eightfold.system.topology import topology
from eightfold.tuning.candidate import Aim, Candidate
from eightfold.tuning.processes import Processes
from eightfold.tuning.race import Found, Races
from eightfold.tuning.standing import Standing
from eightfold.tuning.tune import tune

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PEERS = {"openvino": OPENVINO_TOOL, "onnxruntime": ONNXRUNTIME_TOOL, "litert": LITERT_TOOL}
UNTUNED = "eightfold int8, default settings"
MODES: tuple[Mode, ...] = get_args(Mode)


def main() -> None:
    options = arguments()
    for name in options.models:
        network = Network(ARCHITECTURES[name], options.work_dir, options.photos)
        for mode in options.modes:
            subjects = line_up(network, mode, options)
            for one in subjects:
                print(f"{name}, {mode}: {one.name}: {one.runtime}", flush=True)
            how = Settings(mode, rounds=options.rounds, seconds=options.seconds, least=2)
            comparison = compare(subjects, how, command=command())
            Console().print(render(comparison))
            found = [{**row, "mode": mode, "on": report.machine_name(row["machine"])} for row in rows(name, comparison)]
            report.record("best", found, key=("net", "mode", "name", "on"))
            report.write_between(PAGE, "best", tables.best())
            report.write_between(PAGE, "gain", tables.gain())


def arguments() -> argparse.Namespace:
    parser = networks_parser(__doc__)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="none: TensorFlow alone")
    parser.add_argument("--budget", default="5m", help="for each search by eightfold tune")
    parser.add_argument("--again", action="store_true", help="search for settings again")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, at least")
    return parsed(parser)


def line_up(network: Network, mode: Mode, options: argparse.Namespace) -> list[Subject]:
    """All that is measured, each with its settings; the default environment first."""
    frozen, exported = network.exported()
    tools = [PEERS[name] for name in options.peers]
    plain, *others = (network.quantized(tool, options.images, again=False)[0] for tool in (EIGHTFOLD, *tools))
    ours = plain
    if mode == "latency" and topology().usable > 1:
        ours, _ = network.quantized(in_bands(topology().usable), options.images, again=False)
    own = [replace(one, runtime=tuned(one.model, mode, options)) for one in (frozen, ours)]
    peers = [replace(one, runtime=chosen(one, tool, mode, options)) for one, tool in zip(others, tools, strict=True)]
    untuned = replace(plain, name=UNTUNED, runtime=Runtime(own[1].runtime.batch_size))
    return [default_environment(exported, batch_size=1), *own, untuned, *peers]


def tuned(model: Path, mode: Mode, options: argparse.Namespace) -> Runtime:
    """What `eightfold tune` found, or finds now, for a model that TensorFlow runs."""
    known = place(model).exists() and mode in read(model).modes
    if options.again or not known:
        print(f"tuning {model} for {mode}", flush=True)
        found = tune(model, mode=mode, budget=options.budget, precision=("fp32",))
        print(f"  {found.best.settings}; ended: {found.ended}, {found.seconds:.0f} s", flush=True)
    return read(model).choose(mode)[1].settings


def chosen(subject: Subject, tool: Tool, mode: Mode, options: argparse.Namespace) -> Runtime:
    """The best of a peer's candidates, by the races that tune TensorFlow; kept beside its model."""
    file = subject.model.parent / f"{tool.folder}.{mode}.runtime.json"
    if options.again or not file.exists():
        print(f"trying the settings of {subject.name} for {mode}", flush=True)
        assert tool.entry is not None
        candidates = best(tool.entry.peer, mode, topology().usable)
        file.write_text(json.dumps(raced(subject, candidates, mode).to_json()), encoding="utf-8")
    return Runtime.from_json(json.loads(file.read_text(encoding="utf-8")))


def raced(subject: Subject, runtimes: Sequence[Runtime], mode: Mode) -> Runtime:
    """The fastest; then, with it, the fastest memory allocator.

    Raises:
        SystemExit: none of them runs the model; with the reason of the first.
    """
    found = Found(Standing(Aim(mode)))
    with Processes(
        {"int8": subject.model}, "serving_default", None, Budget(None), program=subject.command
    ) as processes:
        races = Races(found, processes, lambda turns: None)
        leaders = races.run([Candidate("int8", one) for one in runtimes], keep=3)
        if not leaders:
            raise SystemExit(f"{subject.name} runs with no settings: {next(iter(found.failures.values())).reason}")
        others = [leaders[0].but(allocator=name) for name in installed()]
        return races.run([*leaders, *others], keep=1)[0].runtime


if __name__ == "__main__":
    main()
