"""`eightfold run`."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, RunMode, Tunable
from eightfold.cli.screen import Screen
from eightfold.errors import EightfoldError, RecipeError
from eightfold.running.chosen import Chosen, choose
from eightfold.running.file import place
from eightfold.running.launch import Launch, launch
from eightfold.running.pinned import become
from eightfold.running.team import run_together

__all__ = ["run"]

Program = Annotated[
    list[str],
    typer.Argument(metavar="-- PROGRAM [ARGUMENT]...", help="What to start, behind two hyphens.", show_default=False),
]
InstanceCount = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="How many copies of the program, in place of the settings' number.", show_default=False
    ),
]
NoNotes = Annotated[bool, typer.Option("--quiet", "-q", help="Do not say what of the settings does not act.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be started, as commands of a shell.")]


@reported
def run(
    model: Tunable,
    program: Program,
    *,
    mode: RunMode = None,
    instances: InstanceCount = None,
    dry_run: DryRun = False,
    quiet: NoNotes = False,
    json: Json = False,
) -> None:
    """Start any program with a model's best settings: threads, cores, oneDNN's switches, memory allocator.

    The settings are those that `eightfold tune` has found. Where they say so,
    several copies are started, each on cores of its own: EIGHTFOLD_INSTANCE
    tells a copy its number, from 0, and EIGHTFOLD_INSTANCES how many there
    are. Their output comes line by line, the number in front; signals go to
    all; when one fails the others are ended and its exit code is that of
    this command. A single copy takes the place of this process. Environment
    variables that are set already stay as they are.

    \b
    [bold]Examples[/]
      $ eightfold run resnet50-int8/ -- python app.py --port 8080
      $ eightfold run resnet50-int8/ --mode throughput -- python worker.py
      $ eightfold run resnet50-int8/ --mode throughput --dry-run -- python worker.py
    """
    if json and not dry_run:
        raise RecipeError("--json goes with --dry-run: otherwise standard output belongs to the program")
    chosen = choose(model, mode)
    planned = launch(program, chosen.settings, chosen.mode, chosen.topology, instances=instances)
    if dry_run:
        _show(chosen, planned, json=json, quiet=quiet)
        return
    if shutil.which(program[0]) is None:
        raise EightfoldError(f"there is no program {program[0]}; expected one along PATH, or a path to one")
    for note in () if quiet else (*chosen.notes, *planned.notes):
        _say(note)
    if len(planned.copies) > 1:
        raise typer.Exit(run_together(planned, _say))
    (only,) = planned.copies
    sys.stdout.flush()
    become(planned.program, only.cpus, {**os.environ, **only.env})


def _show(chosen: Chosen, planned: Launch, *, json: bool, quiet: bool) -> None:
    commands = [copy.command(planned.program) for copy in planned.copies]
    notes = [*chosen.notes, *planned.notes]
    document: dict[str, Any] = {
        "mode": chosen.mode,
        "settings": chosen.settings.to_json(),
        "file": str(place(chosen.source)),
        "notes": notes,
        "instances": [
            {"cpus": copy.cpus, "environment": dict(copy.env), "command": command}
            for copy, command in zip(planned.copies, commands, strict=True)
        ],
    }
    comments = () if quiet else (f"# {note}" for note in notes)
    Screen(json).show(document, *map(Text, comments), *map(Text, commands))


def _say(text: str) -> None:
    print(f"eightfold: {text}", file=sys.stderr, flush=True)
