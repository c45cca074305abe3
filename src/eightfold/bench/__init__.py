"""Measures models side by side: several models, several rounds in turns, one run.

    comparison = compare(["resnet50/", "resnet50-int8/"], runtime=Runtime(batch_size=32, intra=2))
    print(comparison.to_json())

What it measures with is plain TensorFlow in a process for each model or in several (`Runtime.instances`), see
`worker`; other runtimes take part through `Subject.command`, see `protocol`.
"""

from __future__ import annotations

from eightfold.bench.instances import Instances, Turn
from eightfold.bench.machine import Machine, this_machine
from eightfold.bench.measurement import Comparison, Measurement, size_mb
from eightfold.bench.process import Subject, Worker
from eightfold.bench.suite import Settings, compare
from eightfold.bench.table import markdown, render
from eightfold.bench.timer import Ratio, Timing
from eightfold.running.settings import Runtime

__all__ = [
    "Comparison",
    "Instances",
    "Machine",
    "Measurement",
    "Ratio",
    "Runtime",
    "Settings",
    "Subject",
    "Timing",
    "Turn",
    "Worker",
    "compare",
    "markdown",
    "render",
    "size_mb",
    "this_machine",
]
