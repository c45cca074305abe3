"""`eightfold benchmark`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import BatchSize, Json, Quiet
from eightfold.cli.screen import Screen
from eightfold.errors import ModelError

__all__ = ["benchmark"]

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="SavedModel folders or frozen .pb files; the first is what the others are compared with.",
        show_default=False,
    ),
]
Threads = "{}; left to TensorFlow by default."


@reported
def benchmark(
    models: Models,
    *,
    batch_size: BatchSize = 1,
    intra: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=Threads.format("Threads inside one operation"))
    ] = None,
    inter: Annotated[int | None, typer.Option(min=1, metavar="N", help=Threads.format("Operations at a time"))] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="How often each model has its turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, metavar="S", help="Least time of a turn.")] = 1.0,
    signature: Annotated[str, typer.Option(metavar="NAME", help="The signature to call.")] = "serving_default",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure models side by side: in turns, in one run, each in its own process.

    The input is synthetic and fits the signature. Ratios are formed within
    each round, where all models met the same machine.

    \b
    [bold]Examples[/]
      $ eightfold benchmark resnet50/ resnet50-int8/
      $ eightfold benchmark resnet50/ resnet50-int8/ -b 32 --intra 2 --inter 1
      $ eightfold benchmark net-int8/ --rounds 10 --json > result.json
    """
    for model in models:
        _check(model)
    screen = Screen(json, quiet)
    with screen.work() as tell:
        from eightfold.bench import Settings, compare, render

        how = Settings(
            batch_size=batch_size,
            intra=intra,
            inter=inter,
            rounds=rounds,
            seconds=seconds,
            signature=signature,
        )
        comparison = compare(models, how, progress=lambda _, done, total: tell("benchmark", done, total))
    document: dict[str, Any] = asdict(comparison)
    screen.show({"models": document.pop("measurements"), **document}, render(comparison))


def _check(model: str) -> None:
    """Says what TensorFlow would say in twenty lines.

    Raises:
        ModelError: the path is no SavedModel and no frozen graph.
    """
    path = Path(model)
    if not path.exists():
        raise ModelError(f"there is no model at {path}; expected a SavedModel folder or a frozen .pb file")
    files = [path / "saved_model.pb", path / "saved_model.pbtxt"]
    whole = any(file.is_file() for file in files) if path.is_dir() else path.suffix == ".pb"
    if not whole:
        raise ModelError(
            f"{path} cannot be measured as it is: expected a SavedModel folder or a frozen .pb file; "
            "save a Keras model as one with model.export(folder)"
        )
