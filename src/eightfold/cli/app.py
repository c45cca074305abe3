"""The program `eightfold`: its commands, and what is common to them."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from eightfold import __version__
from eightfold.cli.benchmark import benchmark
from eightfold.cli.environment import env
from eightfold.cli.evaluate import evaluate
from eightfold.cli.explain import explain
from eightfold.cli.failures import DEBUG
from eightfold.cli.predict import predict
from eightfold.cli.quantize import quantize
from eightfold.cli.run import run
from eightfold.cli.system import system
from eightfold.cli.train import train
from eightfold.cli.tune import tune

__all__ = ["app", "main"]

app = typer.Typer(
    name="eightfold",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (quantize, evaluate, benchmark, explain, tune, run, env, system, predict, train):
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eightfold {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show tracebacks, as does {DEBUG}=1 in the environment.")
    ] = False,
) -> None:
    """Make TensorFlow models fast on CPUs: 8-bit SavedModels that run on stock TensorFlow.

    \b
    [bold]Start here[/]
      $ eightfold quantize model/ -d photos/ -o model-int8/
      $ eightfold benchmark model/ model-int8/
      $ eightfold evaluate model-int8/ -d photos/ --reference model/ -m agreement
      $ eightfold explain model-int8/
    """
    if debug:
        os.environ[DEBUG] = "1"


def main() -> None:
    """Runs the program with the arguments of this process."""
    app()


if __name__ == "__main__":
    main()
