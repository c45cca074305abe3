"""A comparison for readers: a rich table for the terminal, Markdown for documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eightfold.bench.suite import Comparison, Measurement

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["HEADINGS", "cells", "markdown", "render"]

HEADINGS = ("model", "size MB", "memory MB", "median ms", "p90 ms", "p99 ms", "spread", "images/s", "speedup")


def cells(one: Measurement) -> tuple[str, ...]:
    """A model's row, under `HEADINGS`; the speedup with its lowest and highest round."""
    ratio = one.speedup
    return (
        one.name,
        f"{one.size_mb:.1f}",
        f"{one.peak_mb:.0f}",
        f"{one.timing.median_ms:.2f}",
        f"{one.timing.p90_ms:.2f}",
        f"{one.timing.p99_ms:.2f}",
        f"{one.timing.spread:.0%}",
        f"{one.images_per_second:.1f}",
        f"{ratio} ({ratio.low:.2f}-{ratio.high:.2f})",
    )


def render(comparison: Comparison) -> Table:
    """The comparison as a table for `rich.console.Console.print`."""
    from rich.table import Table

    how = comparison.settings
    threads = f"{how.intra or comparison.machine.cores} threads"
    table = Table(
        title=f"batch {how.batch_size}, {threads}, {how.rounds} rounds in turns",
        caption=str(comparison.machine),
    )
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if place == 0 else "right", no_wrap=place > 0)
    for one in comparison.measurements:
        table.add_row(*cells(one))
    return table


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *map(cells, comparison.measurements)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
