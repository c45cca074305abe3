"""`eightfold train`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Quiet
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen
from eightfold.cli.stopping import RESUME, stopping
from eightfold.errors import EightfoldError, RecipeError

if TYPE_CHECKING:
    from eightfold.training.collective import Collective
    from eightfold.training.seat import Seat

__all__ = ["train"]

OF_ONE_WORKER = ("data", "output", "cache", "worker_index", "quiet", "json")
"""Options that may differ between the workers of one run."""
STUDIED = {"model", "image_size", "epochs", "weights", "precision", "validation", "augment", "flip", "seed"}
"""Options that a study of batch sizes heeds, beside those of one worker; the recipes are its own."""
RECIPE = "How it learns"
WORKERS = "Several workers"

Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="A folder with a folder of pictures for each class (or with train and val folders that have these), "
        "TFRecord files, an .npz with x and y, or module:function.",
        show_default=False,
    ),
]
Network = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A network of keras.applications by name (resnet50), a .keras file, or module:function, which is called "
        "with input_shape= and classes=.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        file_okay=False,
        metavar="FOLDER",
        help="For the model, its report and learning curve, and checkpoints on the way.",
        show_default=False,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=8, metavar="N", help="Height and width of the pictures.", show_default="what the network is made for"
    ),
]
Epochs = Annotated[str, typer.Option(metavar="N|auto", help="Passes over the data; auto: until it gains no more.")]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="accuracy=X", help="Stop as soon as so much of the validation pictures is right.", show_default=False
    ),
]
Weights = Annotated[
    str,
    typer.Option("--from", metavar="WEIGHTS", help="scratch, imagenet, or a file of weights to begin with."),
]
BatchSize = Annotated[str, typer.Option("--batch-size", "-b", metavar="N|auto", help="Pictures for each step.")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="auto: bfloat16 where a short trial says that it is faster."),
]
Optimizer = Annotated[
    Literal["auto", "sgd", "adam", "adamw", "lars", "lamb", "muon"],
    typer.Option(help="auto: by the batch size and the number of steps.", rich_help_panel=RECIPE),
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.0, metavar="X", help="The highest learning rate.", show_default="by the batch", rich_help_panel=RECIPE
    ),
]
Smoothing = Annotated[
    float, typer.Option(min=0.0, max=0.9, metavar="X", help="Label smoothing.", rich_help_panel=RECIPE)
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Pictures that the network sees at once; a larger batch is made of several, for less memory.",
        show_default="the batch",
        rich_help_panel=RECIPE,
    ),
]
GrowFrom = Annotated[
    str,
    typer.Option(
        metavar="N|auto|none",
        help="The batch size of the first epochs, from which it doubles; auto: 64 for batches of 128 and more.",
        rich_help_panel=RECIPE,
    ),
]
Resizing = Annotated[
    str,
    typer.Option(
        "--progressive-resizing",
        metavar="N|auto|none",
        help="Begin with pictures N pixels high and wide that grow to --image-size; auto: half of it. Faster, and as "
        "good where what matters shows in small pictures.",
        rich_help_panel=RECIPE,
    ),
]
Validation = Annotated[
    str,
    typer.Option(metavar="X|DATA", help="The share of each class to validate with, or data of its own."),
]
Cache = Annotated[
    Literal["auto", "memory", "disk"],
    typer.Option(help="Where decoded pictures are kept; auto: by how much memory they need."),
]
BatchStudy = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Train once for each batch size with a plain recipe and once with ours, and compare speed and accuracy.",
        show_default=False,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Processes on this machine, each on cores of its own.", rich_help_panel=WORKERS
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...",
        help="Workers on several machines: start the same command on each of them.",
        show_default=False,
        rich_help_panel=WORKERS,
    ),
]
WorkerIndex = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Which of --cluster this machine is.",
        show_default="the one with its address",
        rich_help_panel=WORKERS,
    ),
]


@reported
def train(  # noqa: PLR0913  (one argument for each option)
    data: Data,
    model: Network,
    output: Output,
    *,
    image_size: ImageSize = None,
    epochs: Epochs = "10",
    target: Target = None,
    weights: Weights = "scratch",
    freeze: Annotated[
        bool,
        typer.Option(
            "--freeze",
            help="Train the last layer only, on features that are computed once for each picture (transfer learning).",
        ),
    ] = False,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    optimizer: Optimizer = "auto",
    rate: Rate = None,
    label_smoothing: Smoothing = 0.0,
    micro_batch: MicroBatch = None,
    grow_from: GrowFrom = "auto",
    progressive_resizing: Resizing = "none",
    validation: Validation = "0.2",
    augment: Annotated[bool, typer.Option(help="Change pictures at random: flips, crops, brightness.")] = True,
    flip: Annotated[bool, typer.Option(help="Let left and right be exchanged; not for text.")] = True,
    balance: Annotated[
        bool, typer.Option("--balance", help="Let classes with few pictures count as much as the others.")
    ] = False,
    cache: Cache = "auto",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of weights, order, parting and changes.")] = 0,
    workers: Workers = 1,
    cluster: Cluster = None,
    worker_index: WorkerIndex = None,
    batch_study: BatchStudy = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that has not ended.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another run left there.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a classifier on your own pictures, several times faster than a plain Keras script.

    The result is an ordinary Keras model that takes pixels 0..255. Pictures are
    decoded once; batch norms are fused; the faster precision is found; rate and
    schedule follow from the batch size. Ctrl-C ends it after the step at hand,
    kill -9 costs at most five minutes: go on with --resume.

    \b
    [bold]Examples[/]
      $ eightfold train -d documents/ -m resnet50 --image-size 160 -o run/
      $ eightfold train -d documents/ -m mobilenetv2 --epochs auto \\
            --target accuracy=0.98 --from imagenet -o run/
      $ eightfold train -d documents/ -m resnet50 --from imagenet --freeze -o head/
      $ eightfold train -d documents/ -m nets:small --image-size 128 \\
            --workers 2 -o run/
      $ eightfold train -d documents/ -m nets:small --image-size 128 \\
            --batch-study 32,256,1024 -o study/
      $ eightfold quantize run/model.keras -d documents/ -o run-int8/
    """
    options = {name: value for name, value in locals().items() if name not in OF_ONE_WORKER}
    if batch_study is not None:
        _check_study(options)
    seat = _seat(workers, cluster, worker_index)
    if seat is None and workers > 1:
        raise typer.Exit(_launched(workers))
    if batch_study is not None:
        from eightfold.cli.batch_study import batch_study as studied

        studied(
            Screen(json, quiet),
            data=data,
            model=model,
            output=output,
            batch_sizes=[_whole("--batch-study", part.strip()) for part in batch_study.split(",")],
            image_size=image_size,
            epochs=_whole("--epochs", epochs),
            weights=weights,
            precision=precision,
            validation=_validation(validation),
            cache=cache,
            augment=augment,
            flip=flip,
            seed=seed,
        )
        return
    screen = Screen(json, quiet or (seat is not None and seat.rank > 0))
    with screen.work() as tell, _ending_as_lost(), ExitStack() as stack:
        import_tensorflow()
        from eightfold.data.augment import Augment
        from eightfold.training.collective import Alone
        from eightfold.training.history import Epoch
        from eightfold.training.train import train as trained

        def over(epoch: Epoch) -> None:
            if not screen.quiet:
                print(epoch, file=sys.stderr, flush=True)

        those: Collective = Alone() if seat is None else stack.enter_context(_met(seat, options))
        stack.enter_context(stopping(those.stop))
        result = trained(
            data,
            model,
            output=output,
            image_size=image_size,
            epochs="auto" if epochs == "auto" else _whole("--epochs", epochs),
            target=target,
            weights=weights,
            freeze=freeze,
            batch_size="auto" if batch_size == "auto" else _whole("--batch-size", batch_size),
            precision=precision,
            optimizer=optimizer,
            rate=rate,
            label_smoothing=label_smoothing,
            micro_batch=micro_batch,
            grow_from=_growing("--grow-from", grow_from),
            progressive_resizing=_growing("--progressive-resizing", progressive_resizing),
            validation=_validation(validation),
            augment=Augment(flip_horizontal=flip) if augment else False,
            balance=balance,
            cache=cache,
            seed=seed,
            resume=resume,
            overwrite=overwrite,
            workers=those,
            progress=tell,
            on_epoch=over,
        )
    from eightfold.cli.training_summary import training_page

    if those.rank == 0:
        screen.show(result.report.to_json(), *training_page(result))


def _check_study(options: dict[str, Any]) -> None:
    """Raises `RecipeError` for options that a study would leave unheeded."""
    defaults = inspect.signature(train).parameters
    unheeded = [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if name not in {*STUDIED, "batch_study"} and value != defaults[name].default
    ]
    if unheeded:
        raise RecipeError(
            f"--batch-study compares recipes of its own, in one process; received {', '.join(unheeded)} with it, "
            "expected no other options of how it learns or who trains"
        )


def _seat(workers: int, cluster: str | None, index: int | None) -> Seat | None:
    """The place of this process among several workers; None where it has none, or is to start them."""
    from eightfold.training import seat

    if workers > 1 and cluster is not None:
        raise RecipeError("--workers is for this machine and --cluster for several; expected one of them")
    place = seat.given(os.environ)
    if place is None and cluster is not None:
        place = seat.cluster(cluster, index, os.environ.get(seat.SECRET, ""))
    return place


def _met(seat: Seat, options: dict[str, Any]) -> AbstractContextManager[Collective]:
    """The other workers, once all are there."""
    from eightfold.training.connected import connected

    facts = {name.replace("_", " "): str(value) for name, value in options.items()}
    return connected(seat, facts, say=_say)


def _launched(workers: int) -> int:
    """Runs this command as so many workers; returns its exit code.

    Raises:
        EightfoldError: a worker was lost; the message says how to go on.
    """
    from eightfold.training.collective import WorkerLostError
    from eightfold.training.workers import launched

    try:
        return launched(workers, [sys.executable, "-m", "eightfold.cli.app", *sys.argv[1:]], say=_say)
    except WorkerLostError as error:
        raise EightfoldError(f"{error}\n{RESUME}") from error


@contextmanager
def _ending_as_lost() -> Iterator[None]:
    """Lets a worker that could not go on without another end with the code that its launcher knows."""
    from eightfold.training.collective import EXIT_LOST, WorkerLostError

    try:
        yield
    except WorkerLostError as error:
        _say(f"Error: {error}\n{RESUME}")
        raise typer.Exit(EXIT_LOST) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _whole(option: str, text: str) -> int:
    """A whole number of at least 1.

    Raises:
        RecipeError: it is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise RecipeError(f"{option} takes whole numbers of at least 1; received {text!r}")
    return int(text)


def _growing(option: str, text: str) -> int | Literal["auto"] | None:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    return _whole(option, text)


def _validation(text: str) -> float | str:
    """A share, where the text is a number; else data."""
    try:
        return float(text)
    except ValueError:
        return text
