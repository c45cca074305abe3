"""A comparison for readers: a rich table for the terminal, Markdown for documents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eightfold.bench.measurement import Comparison, Measurement
from eightfold.bench.peers.flight import IN_FLIGHT
from eightfold.running.settings import Runtime

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["HEADINGS", "cells", "markdown", "render"]

HEADINGS = (
    "model",
    "size\nMB",
    "peak\nMB",
    "p50\nms",
    "p90\nms",
    "p99\nms",
    "spread",
    "cores\nbusy",
    "images\n/s",
    "speedup\n(low-high)",
)


STEADY = 0.1
"""The spread up to which rounds agree, as a share of the median."""


def cells(one: Measurement) -> tuple[str, ...]:
    """A model's row, under `HEADINGS`; below the speedup stand its lowest and its highest round."""
    ratio = one.speedup
    return (
        one.name,
        f"{one.size_mb:.1f}" if one.size_mb else "-",
        f"{one.peak_mb:.0f}",
        *(_short(ms) for ms in (one.timing.median_ms, one.timing.p90_ms, one.timing.p99_ms)),
        f"{one.timing.spread:.0%}",
        f"{one.cores_busy:.1f}",
        _short(one.images_per_second),
        f"{ratio}\n({ratio.low:.2f}-{ratio.high:.2f})",
    )


def render(comparison: Comparison) -> Table:
    """The comparison as a table for `rich.console.Console.print`; it fits a terminal of 80 columns.

    How the models were run is said once above the table, or of each model below it where it differs.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    runtimes = [_settings(one.runtime) for one in comparison.measurements]
    same = len(set(runtimes)) == 1
    count = len(comparison.measurements[0].turns)
    rounds = f"{count} rounds in turns" if count > 1 else "1 round"
    settings = [f"{one.name}: {told}" for one, told in zip(comparison.measurements, runtimes, strict=True)]
    table = Table(
        title=f"{runtimes[0]}, {rounds}" if same else rounds,
        title_justify="left",
        caption=Text("\n".join([*([] if same else settings), str(comparison.machine), *_doubt(comparison)])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for place, heading in enumerate(HEADINGS):
        if place == 0:
            table.add_column(heading, overflow="fold", min_width=10)
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for one in comparison.measurements:
        table.add_row(*(Text(cell) for cell in cells(one)))
    return table


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *map(cells, comparison.measurements)]
    return "".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in row)} |\n" for row in rows)


def _settings(runtime: Runtime) -> str:
    """The settings for people, without the name of the variable that tells a worker of batches in flight."""
    others = {name: value for name, value in runtime.env.items() if name != IN_FLIGHT}
    told = str(replace(runtime, env=others))
    return f"{told}, {runtime.env[IN_FLIGHT]} batches in flight" if IN_FLIGHT in runtime.env else told


def _doubt(comparison: Comparison) -> list[str]:
    if all(one.timing.spread <= STEADY for one in comparison.measurements):
        return []
    return [f"A spread above {STEADY:.0%}: other programs ran too. Measure again, with more --rounds."]


def _short(number: float) -> str:
    """Two decimals below 100, none above: four or five characters for what benchmarks meet."""
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"
