"""Measures models side by side: several models, several rounds in turns, one run.

    comparison = compare(["resnet50/", "resnet50-int8/"], Settings(batch_size=32))
    print(comparison.to_json())

What it measures with is plain TensorFlow in a process for each model, see `worker`; other runtimes take part
through `Subject.command`, see `protocol`.
"""

from __future__ import annotations

from eightfold.bench.machine import Machine, this_machine
from eightfold.bench.process import Subject, Worker
from eightfold.bench.suite import Comparison, Measurement, Settings, compare, size_mb
from eightfold.bench.table import markdown, render
from eightfold.bench.timer import Ratio, Timing

__all__ = [
    "Comparison",
    "Machine",
    "Measurement",
    "Ratio",
    "Settings",
    "Subject",
    "Timing",
    "Worker",
    "compare",
    "markdown",
    "render",
    "size_mb",
    "this_machine",
]
