"""`eightfold quantize`."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eightfold.cli.failures import reported
from eightfold.cli.goal import NOT_REACHED, Budget, EvalData, MaxDrop, Metric, MetricOutput, Resume, goal_of
from eightfold.cli.options import (
    BatchSize,
    Exclude,
    Inputs,
    Json,
    Model,
    Outputs,
    Preprocess,
    Quiet,
    RecipeFile,
    Samples,
)
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen
from eightfold.errors import OutputError, RecipeError

if TYPE_CHECKING:
    from eightfold.quantization.recipe import Recipe

__all__ = ["quantize"]


class Observer(str, Enum):
    """How a range follows from what calibration saw."""

    minmax = "minmax"
    moving_average = "moving-average"
    percentile = "percentile"
    kl = "kl"
    mse = "mse"


class Form(str, Enum):
    """What is written."""

    saved_model = "saved_model"
    frozen = "frozen"


Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="A sample of the real input: an .npz file with arrays named like the inputs (or x), a folder of "
        "images, TFRecord files, or module:function. Not needed with --dynamic.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", help="Where to save the result.", show_default=False),
]


@reported
def quantize(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    output: Output,
    data: Data = None,
    samples: Samples = None,
    batch_size: BatchSize = 32,
    preprocess: Preprocess = None,
    observer: Annotated[
        Observer | None, typer.Option(help="How ranges follow from what was seen.", show_default="mse")
    ] = None,
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One weight scale for a tensor, not for each output channel.")
    ] = False,
    bands: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="For real time: compute each picture in N parts side by side, on as many cores.",
            show_default="1",
        ),
    ] = None,
    exclude: Exclude = None,
    recipe: RecipeFile = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Compute ranges while the model runs: no data needed, slower.")
    ] = False,
    format: Annotated[
        Form, typer.Option(help="A SavedModel folder, or one frozen graph (a .pb file).")
    ] = Form.saved_model,
    inputs: Inputs = None,
    outputs: Outputs = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --output.")] = False,
    eval_data: EvalData = None,
    metric: Metric = None,
    metric_output: MetricOutput = None,
    max_drop: MaxDrop = None,
    budget: Budget = None,
    resume: Resume = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Turn a TensorFlow or Keras model into an 8-bit SavedModel that stock TensorFlow runs.

    The result has the same signatures. It is compared with the float model
    before it is saved: parts that would be wrong or slower stay in float, and
    the summary says so. With --eval-data, the fastest model is searched for
    that loses no more than --max-drop; exit code 3 says that none was found,
    and the best is saved all the same.

    \b
    [bold]Examples[/]
      $ eightfold quantize resnet50/ -d photos/ --preprocess caffe -o int8/
      $ eightfold quantize resnet50/ -d photos/ -o live-int8/ --bands 2
      $ eightfold quantize net.keras -d sample.npz -o net-int8/ --observer kl
      $ eightfold quantize bert/ --dynamic -o bert-int8/ --exclude '^pooler'
      $ eightfold quantize net/ -d sample.npz -o net-int8/ \\
            --eval-data test.npz --metric top1 --max-drop 0.005 --budget 30m
      $ eightfold quantize frozen.pb -d my_data:batches --inputs image \\
            --outputs probs -o int8.pb --format frozen
    """
    overwrite = overwrite or resume
    refuse_existing(output, overwrite=overwrite)
    chosen = build_recipe(recipe, observer and observer.value, exclude or (), per_tensor=per_tensor, bands=bands)
    if data is None and not dynamic:
        raise RecipeError(
            "calibration needs a sample of the model's real input: give it with --data, or choose --dynamic"
        )
    goal = goal_of(
        eval_data,
        metric,
        dynamic=dynamic,
        output=metric_output,
        max_drop=max_drop,
        budget=budget,
        resume=resume,
    )
    screen = Screen(json, quiet)
    with screen.work() as tell:
        import_tensorflow()
        import eightfold as ef

        wanted = {} if goal is None else goal.options(batch_size, preprocess, output)
        result = ef.quantize(
            model,
            data,
            recipe=chosen,
            samples=samples,
            batch_size=batch_size,
            preprocess=preprocess,
            dynamic=dynamic,
            inputs=inputs,
            outputs=outputs,
            progress=tell,
            **wanted,
        )
        saved = result.save(output, format=format.value, overwrite=overwrite)
        report = ef.read_report(saved)
    from eightfold.cli.summary import quantized

    screen.show({"output": str(saved), **report.to_dict()}, *quantized(report, model, saved, data, preprocess))
    if report.search and not report.search.reached:
        raise typer.Exit(NOT_REACHED)


def refuse_existing(output: Path, *, overwrite: bool) -> None:
    """Says at once what saving would only say after minutes of work.

    Raises:
        OutputError: something is there already, or nothing can be written there.
    """
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there already; choose another place, or replace it with --overwrite")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise OutputError(f"{output} cannot be written: {above} is not a folder that may be written to")


def build_recipe(
    file: Path | None,
    observer: str | None,
    exclude: list[str] | tuple[str, ...],
    *,
    per_tensor: bool,
    bands: int | None = None,
) -> Recipe:
    """The recipe of the file, or the defaults, with the options of the command line over it.

    Raises:
        RecipeError: the file or an option makes no sense.
    """
    from eightfold.quantization.recipe import Recipe

    recipe = Recipe.load(file) if file else Recipe()
    if observer:
        recipe = replace(recipe, observer=observer)
    if per_tensor:
        recipe = replace(recipe, per_channel=False)
    if bands is not None:
        recipe = replace(recipe, bands=bands)
    return replace(recipe, exclude=(*recipe.exclude, *exclude))
