"""Measures int8 against Intel Neural Compressor: python benchmarks/inc.py [--accuracy MODEL DATA.npz ...]

ResNet-50 as Keras exports it, with trained-looking batch norms, is quantized by both tools with their
defaults and 100 images, then measured in turns with fp32 at batch 32. Both results are SavedModels, and both
run on this Python's TensorFlow. For each pair after `--accuracy`, a SavedModel and an .npz file, both tools
quantize the model with part of `x_train`, and top-1 accuracy is counted on `x_test` and `y_test`; the arrays
are given to the model as they are.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from models import ARCHITECTURES
from networks import EIGHTFOLD, INC_TOOL, Network
from rich.console import Console
from run import command, record_quantization, rows

from eightfold.bench import Runtime, Settings, compare, render, this_machine

TOOLS = (EIGHTFOLD, INC_TOOL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("build/bench"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--model", default="resnet50", choices=ARCHITECTURES)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--keep", action="store_true", help="do not quantize again what is in the work folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inter", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--accuracy", nargs="+", type=Path, default=[], metavar="MODEL DATA.npz")
    options = parser.parse_args()
    if len(options.accuracy) % 2:
        parser.error("--accuracy takes pairs: a SavedModel and an .npz file")
    for model, data in zip(options.accuracy[::2], options.accuracy[1::2], strict=True):
        accuracy(model, data, options)
    if not options.accuracy:
        speed(options)


def speed(options: argparse.Namespace) -> None:
    network = Network(ARCHITECTURES[options.model], options.work_dir, options.photos)
    subjects = list(network.exported()[:1])
    for tool in TOOLS:
        subject, took = network.quantized(tool, options.images, again=tool is EIGHTFOLD and not options.keep)
        record_quantization(options.model, {tool.name: took})
        subjects.append(subject)
    runtime = Runtime(32, intra=options.threads, inter=options.inter)
    same = [replace(one, runtime=runtime) for one in subjects]
    comparison = compare(same, Settings(rounds=options.rounds), command=command())
    Console().print(render(comparison))
    Console().print(f"int8 over INC: {comparison.ratio(EIGHTFOLD.name, INC_TOOL.name)}")
    report.record("inc", rows(options.model, comparison), key=("net", "batch_size", "name"))


def accuracy(model: Path, data: Path, options: argparse.Namespace) -> None:
    """Top-1 on `x_test` before and after each tool."""
    with np.load(data) as arrays:
        x, y = arrays["x_test"].astype(np.float32), arrays["y_test"]
        known = arrays["x_train"][: options.images].astype(np.float32)
    found = {"TF fp32": top1(model, x, y)}
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(Path(scratch, "known.npz"), x=known)
        for tool in TOOLS:
            output = Path(scratch, tool.folder)
            tool.quantize(options.work_dir, model, Path(scratch, "known.npz"), output)
            found[tool.name] = top1(output, x, y)
    for name, share in found.items():
        print(f"{model.name}: {name}: top-1 {share:.2%} of {len(y)}")
    context = {"machine": asdict(this_machine()), "command": command(), "examples": len(y)}
    made: list[dict[str, Any]] = [
        {"net": model.name, "name": name, "top1": share, **context} for name, share in found.items()
    ]
    report.record("inc-accuracy", made, key=("net", "name"))


def top1(model: Path, x: Any, y: Any, batch_size: int = 100) -> float:
    """The share of examples whose largest score is at their label."""
    import tensorflow as tf

    signature = tf.saved_model.load(os.fspath(model)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    hits = 0
    for i in range(0, len(x), batch_size):
        (scores,) = signature(**{name: tf.constant(x[i : i + batch_size])}).values()
        hits += int((np.argmax(scores, axis=-1) == y[i : i + batch_size]).sum())
    return hits / len(x)


if __name__ == "__main__":
    main()
