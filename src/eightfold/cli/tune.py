"""`eightfold tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Preprocess, Quiet
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen
from eightfold.errors import OutputError, RecipeError
from eightfold.running.settings import Mode

__all__ = ["tune"]


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A SavedModel folder, a frozen .pb file, or a network of keras.applications by name (resnet50).",
        show_default=False,
    ),
]
BatchSizes = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Batch sizes to try; one for latency.",
        show_default="1 for latency, 1,4,8,32 for throughput",
    ),
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ms",
        metavar="MS",
        help="For throughput: nine of ten batches are to take no longer.",
        show_default=False,
    ),
]
Budget = Annotated[str, typer.Option(metavar="TIME", help="How long it may take: 90s, 10m, 1.5h.")]
Int8 = Annotated[
    Path | None,
    typer.Option("--int8", metavar="FOLDER", help="The 8-bit model made from MODEL, tried beside it."),
]
Precisions = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAMES",
        help="Forms to try, of fp32 (a float MODEL as it is), bf16 (TensorFlow's, changes the numbers) and int8.",
        show_default="what MODEL is, and int8 with --int8",
    ),
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="An environment variable to try as well; repeat for more."),
]
Data = Annotated[
    str | None,
    typer.Option("--data", "-d", metavar="DATA", help="What to feed, as for quantize; synthetic input by default."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        metavar="FILE.json",
        help="Where to write the settings.",
        show_default="with the model",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(dir_okay=False, metavar="FILE", help="Write a page with the plot of throughput against latency."),
]


@reported
def tune(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    mode: Annotated[Mode, typer.Option(help="One batch as soon as possible, or most images in a second.")] = "latency",
    max_latency_ms: MaxLatency = None,
    budget: Budget = "10m",
    batch_sizes: BatchSizes = None,
    int8: Int8 = None,
    precision: Precisions = None,
    env: Variables = None,
    data: Data = None,
    preprocess: Preprocess = None,
    signature: Annotated[str, typer.Option(metavar="NAME", help="The signature to call.")] = "serving_default",
    output: Output = None,
    html: Html = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the turns of a search before.")] = False,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Try all combinations; takes many times as long.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find the settings that run a model fastest on this machine, and keep them with it.

    Threads, instances and their cores, batch size, oneDNN's settings and
    memory allocator are tried in turns, each in processes of its own. The
    search ends when the winner is clear, with the budget, or with Ctrl-C; in
    each case with the best so far.

    A network by name has random weights; it is kept in the cache folder, and
    its settings with it: eightfold benchmark resnet50 --runtime tuned.

    \b
    [bold]Examples[/]
      $ eightfold tune resnet50-int8/ --mode latency
      $ eightfold tune resnet50-int8/ --mode throughput --html tuning.html
      $ eightfold tune resnet50/ --int8 resnet50-int8/ --mode throughput \\
            --max-latency-ms 50 --budget 20m
      $ eightfold tune resnet50/ --mode latency --precision fp32,bf16
    """
    sizes = [_whole(text) for text in _listed(batch_sizes)]
    variables = dict(_variable(text) for text in env or ())
    if html is not None:
        _check_page(html)
    screen = Screen(json, quiet)
    with screen.work() as tell:
        if data is not None:
            import_tensorflow()
        from eightfold.bench.named import located
        from eightfold.tuning.tune import tune as tuned

        tell("locate", 0, None)
        result = tuned(
            located(model),
            mode=mode,
            max_latency_ms=max_latency_ms,
            budget=budget,
            batch_sizes=sizes,
            int8=int8,
            precision=_listed(precision),
            env=variables,
            data=data,
            preprocess=preprocess,
            signature=signature,
            output=output,
            resume=resume,
            exhaustive=exhaustive,
            progress=tell,
        )
        if html:
            from eightfold.cli.page.tuning import write_tuning_page

            write_tuning_page(result, html)
    from eightfold.cli.tuning_summary import tuning_page

    screen.show(result.to_json(), *tuning_page(result))


def _check_page(file: Path) -> None:
    """Says at once what writing the page would only say after minutes of work.

    Raises:
        OutputError: its folder is not there.
    """
    if not file.absolute().parent.is_dir():
        raise OutputError(f"the page cannot be written to {file}: there is no folder {file.parent}")


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def _whole(text: str) -> int:
    """A batch size.

    Raises:
        RecipeError: it is no whole number.
    """
    if not text.isdecimal():
        raise RecipeError(f"--batch-sizes takes whole numbers such as 1,8,32, not {text!r}")
    return int(text)


def _variable(text: str) -> tuple[str, str]:
    """An environment variable.

    Raises:
        RecipeError: it is not of the form NAME=VALUE.
    """
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise RecipeError(f"--env takes a variable as NAME=VALUE, such as KMP_BLOCKTIME=1, not {text!r}")
    return name, value
