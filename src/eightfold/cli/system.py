"""`eightfold system`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Quiet
from eightfold.cli.screen import Screen
from eightfold.errors import PlatformError
from eightfold.system.finding import Finding
from eightfold.system.findings import findings
from eightfold.system.picture import picture
from eightfold.system.survey import Survey, survey
from eightfold.tf.build import Build, installed_build
from eightfold.tf.build_findings import build_findings

__all__ = ["system"]


@reported
def system(
    *,
    tensorflow: Annotated[
        bool,
        typer.Option("--tensorflow/--no-tensorflow", help="Let TensorFlow say what it has; that takes some seconds."),
    ] = True,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show what this machine means for the speed of 8-bit models.

    Cores, caches and memory, and what of them this process may use: the
    limits of a container count, not the host's size. TensorFlow and oneDNN
    are asked in a process of their own, which computes a little. Lines that
    ask for something to be done are yellow.

    \b
    [bold]Examples[/]
      $ eightfold system
      $ eightfold system --json > machine.json
      $ taskset -c 0-3 eightfold system --no-tensorflow
    """
    screen = Screen(json, quiet)
    with screen.work() as tell:
        here = survey()
        found = findings(here)
        build = None
        if tensorflow:
            tell("asking TensorFlow", 0, None)
            build, lines = _asked(here)
            found += lines
    screen.show(_document(here, build, found), *_page(here, found))


def _asked(here: Survey) -> tuple[Build | None, tuple[Finding, ...]]:
    """What TensorFlow says, in lines. One that does not start is a finding too: the rest of the page still counts."""
    try:
        build = installed_build()
    except PlatformError as error:
        return None, (Finding("TensorFlow", "cannot be used", str(error), warning=True),)
    return build, build_findings(build, here)


def _page(here: Survey, found: Iterable[Finding]) -> Iterator[RenderableType]:
    for line in picture(here.topology, here.caches):
        yield Text(line)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        table.add_row(one.name, _told(one))
    yield Text()
    yield table
    yield Text()
    for line in _advice(here.topology.usable):
        yield Text(line)


def _told(one: Finding) -> Text:
    """What was found, and below it what that means."""
    meaning = Text(one.meaning, style="yellow" if one.warning else "dim")
    return Text("\n").join([Text(one.value), meaning] if one.meaning else [Text(one.value)])


def _advice(cores: int) -> Iterator[str]:
    threads = "1 thread" if cores == 1 else f"{cores} threads"
    yield f"Latency: one instance, up to {threads}."
    yield "Throughput: larger batches" + (f", up to {cores} pinned instances of 1 thread." if cores > 1 else ".")
    yield "What is best for a model: eightfold tune MODEL"


def _document(here: Survey, build: Build | None, found: Iterable[Finding]) -> dict[str, Any]:
    """All of it as JSON can hold it; the lines of the page are `findings`."""
    document = asdict(here)
    document["flags"] = sorted(here.flags)
    document["allocators"] = {name: str(path) for name, path in here.allocators.items()}
    document["topology"]["usable"] = here.topology.usable
    return {**document, "tensorflow": build and asdict(build), "findings": [asdict(one) for one in found]}
