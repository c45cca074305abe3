"""What `eightfold train` prints when a run is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from eightfold.training.report import TrainingReport
    from eightfold.training.train import Trained

__all__ = ["training_page"]

SHOWN = 5
"""Pictures that could not be read, and files with another name, that are named; the report names all."""

ENDED = {
    "target": "the target was reached",
    "epochs": "all epochs were done",
    "no gain": "validation gained no more",
}


def training_page(result: Trained) -> Iterator[RenderableType]:
    """A table of the figures, and lines of text."""
    report = result.report
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _figures(report):
        table.add_row(name, value)
    yield table
    yield from _pictures("could not be read", report.skipped)
    yield from _pictures("is not what its name says", report.misnamed)
    if result.path is not None:
        yield Text(f"{result.path / 'model.keras'}, and beside it: report.json, history.json, curve.png, logs/")


def _figures(report: TrainingReport) -> Iterator[tuple[str, str]]:
    seconds, final = report.seconds, report.final
    yield "accuracy", f"{report.accuracy:.1%} of {sum(held for _, held in report.classes.values())} pictures"
    yield "classes", ", ".join(f"{name} {train} + {held}" for name, (train, held) in report.classes.items())
    yield "ended", f"after epoch {report.epochs[-1].epoch}: {ENDED[report.ended]}"
    if final.epoch != report.epochs[-1].epoch:
        yield "weights", f"those of epoch {final.epoch}, the best"
    yield "images/s", f"{median(one.images_per_second for one in report.epochs):.1f}, median of the epochs"
    yield (
        "time",
        f"{seconds.whole:.0f} s: data {seconds.data:.0f}, start {seconds.start:.0f}, steps {seconds.steps:.0f}, "
        f"evaluation {seconds.evaluation:.0f}",
    )
    yield "memory", f"{report.peak_memory_gb:.1f} GB"
    yield "precision", f"{report.acceleration.precision}; {report.acceleration.why}"
    yield "recipe", f"{report.recipe.optimizer}, batch {report.recipe.batch_size}, rate {report.recipe.rate:.3g}"
    if report.views:
        yield "trained", f"the last layer, on features computed once, {report.views} for each picture"
    if report.workers > 1:
        yield "workers", str(report.workers)


def _pictures(what: str, named: Mapping[str, str]) -> Iterator[RenderableType]:
    items = list(named.items())
    for name, reason in items[:SHOWN]:
        yield Text(f"{name} {what}: {reason}")
    if len(items) > SHOWN:
        yield Text(f"and {len(items) - SHOWN} more {what}: see report.json")
