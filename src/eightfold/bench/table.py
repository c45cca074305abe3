"""A comparison for readers: a rich table for the terminal, Markdown for documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eightfold.bench.suite import Comparison, Measurement

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["HEADINGS", "cells", "markdown", "render"]

HEADINGS = (
    "model",
    "size\nMB",
    "peak\nMB",
    "median\nms",
    "p90\nms",
    "p99\nms",
    "spread",
    "images\n/s",
    "speedup\n(low-high)",
)


def cells(one: Measurement) -> tuple[str, ...]:
    """A model's row, under `HEADINGS`; below the speedup stand its lowest and its highest round."""
    ratio = one.speedup
    return (
        one.name,
        f"{one.size_mb:.1f}",
        f"{one.peak_mb:.0f}",
        *(_short(ms) for ms in (one.timing.median_ms, one.timing.p90_ms, one.timing.p99_ms)),
        f"{one.timing.spread:.0%}",
        _short(one.images_per_second),
        f"{ratio}\n({ratio.low:.2f}-{ratio.high:.2f})",
    )


def render(comparison: Comparison) -> Table:
    """The comparison as a table for `rich.console.Console.print`; it fits a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    how = comparison.settings
    threads = how.intra or comparison.machine.cores
    table = Table(
        title=f"batch {how.batch_size}, {threads} threads, {how.rounds} rounds in turns",
        caption=Text(str(comparison.machine)),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for place, heading in enumerate(HEADINGS):
        if place == 0:
            table.add_column(heading, overflow="fold", min_width=12)
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for one in comparison.measurements:
        table.add_row(*(Text(cell) for cell in cells(one)))
    return table


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *map(cells, comparison.measurements)]
    return "".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in row)} |\n" for row in rows)


def _short(number: float) -> str:
    """Two decimals below 100, none above: four or five characters for what benchmarks meet."""
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"
