"""`eightfold train`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Quiet
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen
from eightfold.cli.stopping import RESUME, stopping
from eightfold.cli.train_options import (
    Augmented,
    Balance,
    BatchSize,
    BatchStudy,
    Cache,
    Cluster,
    Data,
    Epochs,
    Flip,
    Freeze,
    GrowFrom,
    ImageSize,
    MicroBatch,
    Network,
    Optimizer,
    Output,
    Overwrite,
    Precision,
    Rate,
    Resizing,
    Resume,
    Seed,
    Smoothing,
    Target,
    Validation,
    Weights,
    WorkerIndex,
    Workers,
)
from eightfold.errors import EightfoldError, RecipeError

if TYPE_CHECKING:
    from eightfold.training.collective import Collective
    from eightfold.training.seat import Seat

__all__ = ["train"]

OF_ONE_WORKER = ("data", "output", "cache", "worker_index", "quiet", "json")
"""Options that may differ between the workers of one run."""
STUDIED = {"model", "image_size", "epochs", "weights", "precision", "validation", "augment", "flip", "seed"}
"""Options that a study of batch sizes heeds, beside those of one worker; the recipes are its own."""


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
    freeze: Freeze = False,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    optimizer: Optimizer = "auto",
    rate: Rate = None,
    label_smoothing: Smoothing = 0.0,
    micro_batch: MicroBatch = None,
    grow_from: GrowFrom = "auto",
    progressive_resizing: Resizing = "none",
    validation: Validation = "0.2",
    augment: Augmented = True,
    flip: Flip = True,
    balance: Balance = False,
    cache: Cache = "auto",
    seed: Seed = 0,
    workers: Workers = 1,
    cluster: Cluster = None,
    worker_index: WorkerIndex = None,
    batch_study: BatchStudy = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
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
    passes, size = _auto_or_whole("--epochs", epochs), _auto_or_whole("--batch-size", batch_size)
    first_size = _growing("--grow-from", grow_from)
    first_side = _growing("--progressive-resizing", progressive_resizing)
    seat = _seat(workers, cluster, worker_index)
    if batch_study is None and (seat is None or seat.rank == 0):
        from eightfold.training.run_folder import check_folder

        check_folder(output, resume=resume, overwrite=overwrite)
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
            epochs=passes,
            target=target,
            weights=weights,
            freeze=freeze,
            batch_size=size,
            precision=precision,
            optimizer=optimizer,
            rate=rate,
            label_smoothing=label_smoothing,
            micro_batch=micro_batch,
            grow_from=first_size,
            progressive_resizing=first_side,
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


def _auto_or_whole(option: str, text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else _whole(option, text)


def _growing(option: str, text: str) -> int | Literal["auto"] | None:
    return None if text == "none" else _auto_or_whole(option, text)


def _validation(text: str) -> float | str:
    """A share, where the text is a number; else data."""
    try:
        return float(text)
    except ValueError:
        return text
