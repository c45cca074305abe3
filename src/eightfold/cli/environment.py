"""`eightfold env`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, RunMode, Tunable
from eightfold.cli.screen import Screen
from eightfold.running.chosen import choose
from eightfold.running.forms import FORMS, Deployment

__all__ = ["env"]

Form = Annotated[
    Literal["shell", "docker", "systemd", "kubernetes", "tf-serving", "json"],
    typer.Option("--format", "-f", help="For what."),
]
NoComments = Annotated[bool, typer.Option("--quiet", "-q", help="Leave out the comments.")]


@reported
def env(
    model: Tunable, *, mode: RunMode = None, form: Form = "shell", quiet: NoComments = False, json: Json = False
) -> None:
    """Print a model's best settings for a shell, Docker, systemd, Kubernetes or TF Serving, ready to be pasted.

    CPUs are numbered as on this machine: print them where they will be used.

    \b
    [bold]Examples[/]
      $ eval "$(eightfold env resnet50-int8/)" && run_tuned python app.py
      $ eightfold env resnet50-int8/ --mode throughput --format docker
      $ eightfold env resnet50-int8/ --format tf-serving > serve.sh
    """
    deployment = Deployment.of(choose(model, mode))
    if json or form == "json":
        Screen(json=True).show(deployment.to_json())
    else:
        print(_bare(FORMS[form](deployment)) if quiet else FORMS[form](deployment), end="")


def _bare(text: str) -> str:
    """Without the lines of comment."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
