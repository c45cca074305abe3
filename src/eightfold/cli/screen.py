"""Where a command writes: the result to standard output, progress to standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Screen", "Tell"]

Tell: TypeAlias = "Callable[[str, int, int | None], None]"
"""Called with the name of a stage, the work done in it and, where known, its total."""

WIDTH = 160
"""Columns of output that goes to a file or a pipe: wide, so that names are not cut."""
STAGES = {
    "locate": "looking for the model",
    "read": "reading the model",
    "export": "folding the float graph",
    "calibrate": "calibrating",
    "verify": "comparing with float",
    "evaluate": "evaluating",
    "round": "rounding weights",
    "correct": "correcting biases",
    "search": "trying candidates",
    "rank": "ranking the steps by their error",
    "tune": "taking turns",
    "benchmark": "taking turns",
    "analyze": "measuring errors and times",
    "start": "loading the model",
    "decode": "decoding pictures",
    "build": "building the network",
    "train": "training",
    "finish": "taking final statistics",
    "study": "training networks",
    "predict": "predicting",
    "write": "writing the output",
}


@dataclass(frozen=True, slots=True)
class Screen:
    """How a command talks.

    Attributes:
        json: the result is one JSON document, and nothing else is written to standard output.
        quiet: neither progress nor summaries.
    """

    json: bool = False
    quiet: bool = False

    @contextmanager
    def work(self) -> Iterator[Tell]:
        """Shows progress on a terminal while the block runs."""
        console = Console(stderr=True)
        bars = _bars(console, shown=console.is_terminal and not self.quiet)
        with redirect_stdout(sys.stderr), bars:  # what the user's own functions print is no result
            yield _Stages(bars, spoken=not (console.is_terminal or self.quiet))

    def show(self, document: Mapping[str, Any], *page: RenderableType) -> None:
        """Writes the result, as JSON or for people.

        Lines of text are not broken: they can be copied. A `str` is written as it is, with its tabs.
        """
        if self.json:
            print(json.dumps(finite(document), indent=1, allow_nan=False))
        elif not self.quiet:
            console = Console(width=None if _has_width() else WIDTH, highlight=False)
            for part in page:
                if isinstance(part, str):
                    print(part)
                else:
                    console.print(part, soft_wrap=isinstance(part, Text))


def finite(value: Any) -> Any:
    """The value with infinities and NaN, which JSON does not have, as null."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _has_width() -> bool:
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def _bars(console: Console, *, shown: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, refresh_per_second=4, disable=not shown)


class _Stages:
    """The bar of the current stage; a new stage hides the one before.

    A stage that comes in words of its own is done once and takes minutes: where there are no bars, it is `spoken` of.
    """

    def __init__(self, bars: Progress, *, spoken: bool) -> None:
        self._bars, self._spoken = bars, spoken
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            for task in self._bars.tasks:
                self._bars.update(task.id, visible=False)
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=total)
            if self._spoken and stage not in STAGES:
                print(stage, file=sys.stderr, flush=True)
        self._bars.update(self._tasks[stage], completed=done, total=total)
