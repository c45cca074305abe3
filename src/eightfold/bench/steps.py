"""A run told in the words of tf_cnn_benchmarks, so that what reads its output reads this.

    Step    Img/sec total_loss
    1       images/sec: 52.1 +/- 0.0 (jitter = 0.0) 0.000
    10      images/sec: 51.8 +/- 0.4 (jitter = 0.9) 0.000
    ----------------------------------------------------------------
    total images/sec: 51.83
    ----------------------------------------------------------------

The columns are parted by tabs. Reference: `print_info`, `benchmark_one_step` and `get_perf_timing` of
tensorflow/benchmarks, scripts/tf_cnn_benchmarks/benchmark_cnn.py. As there, the loss of running forward is 0, since it
needs no labels; an instance stands where a device stands there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eightfold.bench.measurement import Measurement
from eightfold.graph.ir import Array

__all__ = ["Step", "document", "log", "steps", "total"]

LINES = 10
"""About how many lines a run has that lasts for a time, not for a number of batches."""

IMAGENET = 1_281_167
"""Examples of an epoch, where the input is synthetic: as many as tf_cnn_benchmarks counts."""

RULE = "-" * 64
NORMAL = 1.4826
"""What the median absolute deviation is multiplied by to estimate a standard deviation."""


@dataclass(frozen=True, slots=True)
class Step:
    """How fast a run was up to a batch.

    Attributes:
        number: of the batch, from 1; of several instances, of the one that ends each round first.
        images_per_second: mean since the first batch, of all instances together.
        uncertainty: standard error of that.
        jitter: how far single batches are from the median one, in images per second.
        loss: at that batch, in training.
    """

    number: int
    images_per_second: float
    uncertainty: float
    jitter: float
    loss: float | None = None

    def __str__(self) -> str:
        speed = f"{self.images_per_second:.1f} +/- {self.uncertainty:.1f} (jitter = {self.jitter:.1f})"
        return f"{self.number}\timages/sec: {speed}\t{self.loss or 0:.3f}"


def steps(measured: Measurement, every: int | None = None) -> list[Step]:
    """The first batch of a measurement and every so many-th; by default such that there are about ten."""
    seconds, images = _batches(measured)
    done = len(seconds)
    every = every or -(-done // LINES)
    speeds, means = images / seconds, images.cumsum() / seconds.cumsum()
    losses = _losses(measured)
    found = []
    for number in sorted({1, *range(every, done + 1, every)}):
        until = speeds[:number]
        found.append(
            Step(
                number,
                images_per_second=float(means[number - 1]),
                uncertainty=float(until.std() / np.sqrt(number)),
                jitter=float(NORMAL * np.median(np.abs(until - np.median(until)))),
                loss=losses[number - 1] if losses else None,
            )
        )
    return found


def total(measured: Measurement) -> float:
    """Images per second over all rounds, of all instances together."""
    seconds, images = _batches(measured)
    return float(images.sum() / seconds.sum())


def log(measured: Measurement, every: int | None = None, *, data: str | None = None, numa: bool = False) -> str:
    """A measurement as tf_cnn_benchmarks prints it.

    Args:
        measured: of one model.
        every: how many batches lie between two lines; by default such that there are about ten.
        data: where the input came from; None for synthetic input.
        numa: whether instances were bound to NUMA nodes.
    """
    shown = steps(measured, every)
    return "\n".join(
        [
            *_about(measured, data, numa, training=shown[0].loss is not None),
            "=" * 10,
            "Running warm up",
            "Done warm up",
            "Step\tImg/sec\ttotal_loss",
            *map(str, shown),
            RULE,
            f"total images/sec: {total(measured):.2f}",
            RULE,
        ]
    )


def document(measured: Measurement, every: int | None = None) -> dict[str, Any]:
    """The same figures as JSON can hold them."""
    return {"steps": [asdict(step) for step in steps(measured, every)], "total_images_per_second": total(measured)}


def _about(measured: Measurement, data: str | None, numa: bool, training: bool) -> Iterator[str]:
    size = measured.runtime.batch_size
    together = size * len(measured.turns[0].times)
    batches = len(_batches(measured)[0])
    yield f"Model:       {measured.name}"
    yield f"Dataset:     {data or 'synthetic'}"
    yield f"Mode:        {'training' if training else 'forward-only'}"
    yield "SingleSess:  False"
    yield f"Batch size:  {together} global"
    yield f"             {size} per device"
    yield f"Num batches: {batches}"
    if data is None:
        yield f"Num epochs:  {batches * together / IMAGENET:.2f}"
    yield "Devices:     ['/cpu:0']"
    yield f"NUMA bind:   {numa}"
    yield f"Data format: {'NHWC' if measured.runtime.layout == 'NHWC' else 'as in the model'}"
    for name, value in measured.about.items():
        yield f"{name.capitalize() + ':':<13}{value}"
    yield "Variables:   independent"


def _batches(measured: Measurement) -> tuple[Array, Array]:
    """The batches of all rounds, of the instance that ended the round first: the seconds of each, and the images that
    all instances did in them."""
    rounds = [turn.progress() for turn in measured.turns]
    seconds, images = (
        np.concatenate([np.diff(one, prepend=0.0) for one in ones]) for ones in zip(*rounds, strict=True)
    )
    return seconds, images


def _losses(measured: Measurement) -> list[float]:
    """The loss at each of `_batches`; nothing where there is none."""
    tables = [table for turn in measured.turns if turn.figures for table in turn.figures[turn.first]]
    return [table["loss"] for table in tables if "loss" in table]
