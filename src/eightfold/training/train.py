"""`eightfold.train`: a classifier of pictures, from a folder to a Keras model.

pictures --decode once--> bytes --augment--> batches --step--> weights --statistics--> validation --> model.keras
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from eightfold.bench.cache import cache as cache_folder
from eightfold.bench.machine import this_machine
from eightfold.bench.named import named
from eightfold.data.augment import Augment
from eightfold.data.epochs import Epochs
from eightfold.data.labelled import Cache, read_labelled
from eightfold.data.training_data import TrainingData, training_data
from eightfold.errors import RecipeError
from eightfold.training.accelerate import Choice, accelerate
from eightfold.training.assembly import example, loop_of
from eightfold.training.checkpoint import Checkpoint
from eightfold.training.classifier import SCRATCH, classifier, default_side
from eightfold.training.collective import Alone, Collective, synchronized
from eightfold.training.curve import needs_matplotlib, write_curve
from eightfold.training.ending import Ending, Verdict, target_of
from eightfold.training.events import Events
from eightfold.training.frozen import frozen, parted
from eightfold.training.history import Epoch, best_of
from eightfold.training.loop import Diverged, Loop, Tell
from eightfold.training.planning import OptimizerName, epochs_ahead, planned
from eightfold.training.precision import Precision
from eightfold.training.recipe import TrainingRecipe
from eightfold.training.report import Seconds, TrainingReport, peak_memory_gb
from eightfold.training.run_folder import CHECKPOINT, RunFolder
from eightfold.training.sets import Sets, feature_sets, picture_sets, training_batches

__all__ = ["Trained", "train"]

EPOCHS = 10
"""Where no number is given."""


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: of Keras, from float32 pixels 0..255 to the probability of each class.
        classes: their names by number.
        history: what came of each epoch.
        report: what was done.
        path: where it was written; None: nowhere.
    """

    model: Any
    classes: tuple[str, ...]
    history: tuple[Epoch, ...]
    report: TrainingReport
    path: Path | None


def train(  # noqa: PLR0913  (one argument for each thing that may be wanted)
    data: Any,
    model: Any,
    *,
    output: str | Path | None = None,
    image_size: int | None = None,
    epochs: int | Literal["auto"] = EPOCHS,
    target: float | str | None = None,
    weights: str = SCRATCH,
    freeze: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    precision: Choice = "auto",
    optimizer: OptimizerName = "auto",
    rate: float | None = None,
    label_smoothing: float = 0.0,
    micro_batch: int | None = None,
    grow_from: int | Literal["auto"] | None = "auto",
    progressive_resizing: int | Literal["auto"] | None = None,
    validation: float | str | Path = 0.2,
    augment: bool | Augment = True,
    balance: bool = False,
    cache: Cache = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    workers: Collective | None = None,
    progress: Tell | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Trains a classifier on pictures.

        trained = ef.train("documents/", "resnet50", image_size=160, epochs=10, output="documents-model/")
        trained.model.predict(...)

    Args:
        data: a folder with a folder for each class, or with `train` and `validation` folders that have these; TFRecord
            files; an `.npz` file with `x` and `y`; arrays as `(x, y)`; `module:function`.
        model: a network of keras.applications by name; `module:function`, called with `input_shape=` and `classes=`; a
            `.keras` file; or a Keras model. See `eightfold.training.classifier`.
        output: a folder for the model, its report, its learning curve, and checkpoints on the way.
        image_size: height and width of the pictures; by default those that the network is made for.
        epochs: how many; `auto`: the rate falls when validation gains no more, and training ends when that does not
            help either; the model is then the best of all epochs.
        target: training ends as soon as this share of the validation pictures is right: 0.98 or "accuracy=0.98".
        weights: `scratch`, `imagenet`, or a file of weights to begin with.
        freeze: train the last layer only (transfer learning): what comes before it is computed once for each picture,
            of up to four augmented views, and epochs take a moment.
        batch_size: examples for each change of the weights.
        precision: `auto` takes bfloat16 where a short trial says that it is faster; see `accelerate`.
        optimizer, rate, label_smoothing, micro_batch: see `eightfold.training.recipe.recipe_for`.
        grow_from: the batch size of the first epochs, from which it doubles to `batch_size`; `auto`: 64 where the batch
            is large and the number of epochs given; None: all epochs have the same.
        progressive_resizing: height and width of the pictures in the first half of the epochs, from which they grow to
            `image_size`; `auto`: half of that; None: all epochs have the whole size. See `eightfold.training.resizing`.
        validation: the share of each class that is kept for validation; or data of its own.
        augment: random flips, crops, brightness and contrast; False for none; or an `Augment`.
        balance: whether classes with few pictures count as much as those with many.
        cache: where decoded pictures are kept: "memory", "disk" or "auto", by their size.
        seed: of weights, order, parting and augmentation. The same seed gives the same model on the same machine.
        resume: go on with a run that has not ended in `output`.
        overwrite: replace what another run left in `output`.
        workers: who trains together, each with a part of every batch; by default this process alone.
        progress: told stages and what is done of them.
        on_epoch: told each epoch when it is over.

    Returns:
        The trained model, from float32 pixels 0..255 to probabilities, with its classes, history and report.

    Raises:
        DataError: the data cannot be read, or has too few pictures.
        ModelError: the model does not fit the data; or its loss is not finite any more (`Diverged`): the batch is
            then kept in `output`.
        RecipeError: an option makes no sense.
        OutputError: the folder cannot be written to, or holds another run.
        PlatformError: the precision is not for this CPU.
        MissingExtraError: Pillow or Matplotlib is not installed.
        WorkerLostError: another worker is gone; a checkpoint has been written.
        Stopped: a worker was asked to stop (`Collective.stop`); a checkpoint has been written.
    """
    began = time.perf_counter()
    tell, those = progress or (lambda *_: None), workers or Alone()
    ending = Ending(None if epochs == "auto" else epochs, _target(target))
    _check(ending, resume=resume, output=output)
    _check_freezing(model, weights, progressive_resizing, freeze=freeze)
    with ExitStack() as stack:
        folder, checkpoint, freezing = None, None, stack.enter_context(ExitStack())
        if output is not None:
            needs_matplotlib()
            checkpoint = Checkpoint(Path(output) / CHECKPOINT)  # whoever is left of several workers writes it
            if those.rank == 0:
                folder = stack.enter_context(RunFolder(Path(output), resume=resume, overwrite=overwrite))
        side = image_size or default_side(model)
        read = partial(read_labelled, size=side, cache=cache, cache_folder=cache_folder("pictures"), progress=progress)
        pictures = training_data(data, read, validation=validation, seed=seed)
        decoded = time.perf_counter()
        recipe = planned(
            len(pictures.rows),
            ending,
            side=side,
            workers=those.count,
            batch_size=batch_size,
            optimizer=optimizer,
            rate=rate,
            label_smoothing=label_smoothing,
            micro_batch=micro_batch,
            grow_from=grow_from,
            progressive_resizing=progressive_resizing,
        )
        tell("build", 0, None)
        net = classifier(model, side=side, classes=len(pictures.classes), weights=weights, seed=seed)
        if freeze:
            freezing.enter_context(frozen(net))
        batches = training_batches(pictures, recipe, augment, seed)
        before = checkpoint.state()["about"] if resume and checkpoint is not None and those.rank == 0 else {}
        _accelerated(net, precision, batches, before.get("precision"), those)
        if freeze:
            body, trainee = parted(net)
            synchronized(those, body.variables)  # each computes a part of the features
            views = those.gather(before.get("views"))[0]
            ahead = epochs_ahead(ending)
            sets = feature_sets(body, pictures, recipe, batches, those, seed, epochs=ahead, views=views, tell=tell)
        else:
            trainee, sets = net, picture_sets(pictures, recipe, batches, those, seed)
        loop = loop_of(
            trainee,
            recipe,
            pictures,
            sets,
            replace(ending, growing=recipe.growing_sizes),
            seed=seed,
            balance=balance,
            whole=net if freeze else None,
            checkpoint=checkpoint,
            workers=those,
        )
        if resume:
            loop.resume()
        if folder is not None:
            folder.write_text("classes.txt", "\n".join(pictures.classes) + "\n")
        ended = _run(loop, folder, tell, on_epoch, pictures)
        tell("finish", 0, None)
        _, accuracy = loop.finish()
        freezing.close()
        times = began, decoded, time.perf_counter()
        report = _report(net, recipe, pictures, sets, loop, ended, accuracy, those.count, times)
        if folder is not None:
            _write(folder, net, report)
    return Trained(net, pictures.classes, tuple(loop.epochs), report, None if output is None else Path(output))


def _accelerated(net: Any, precision: Choice, batches: Epochs, before: Precision | None, workers: Collective) -> None:
    """Makes the network fast: of several workers in the precision that the first finds, and when a run goes on in that
    which it had before, whatever a trial would say today."""
    if workers.rank == 0:
        accelerate(net, (before or "auto") if precision == "auto" else precision, batch=example(batches))
    found = workers.gather(net.acceleration.precision if workers.rank == 0 else None)[0]
    if workers.rank:
        accelerate(net, found)


def _target(target: float | str | None) -> float | None:
    return None if target is None else target_of(str(target))


def _check_freezing(model: Any, weights: str, progressive_resizing: Any, *, freeze: bool) -> None:
    if freeze and weights == SCRATCH and isinstance(model, str) and named(model) is not None:
        raise RecipeError(
            f"{model} would be frozen with weights that were never trained; expected weights to begin with: imagenet, "
            "or a file"
        )
    if freeze and progressive_resizing is not None:
        raise RecipeError("features are computed once, so pictures cannot grow; expected one of the two")


def _check(ending: Ending, *, resume: bool, output: str | Path | None) -> None:
    if ending.epochs is not None and ending.epochs < 1:
        raise RecipeError(f"there cannot be {ending.epochs} epochs; expected 1 or more, or auto")
    if resume and output is None:
        raise RecipeError("there is nothing to resume without an output folder; expected output=")


def _run(
    loop: Loop,
    folder: RunFolder | None,
    tell: Tell,
    on_epoch: Callable[[Epoch], None] | None,
    pictures: TrainingData,
) -> Verdict:
    """Trains; what there is of each epoch is written as soon as it is over."""
    events = nullcontext() if folder is None else Events(folder / "logs")

    def over(epoch: Epoch) -> None:
        if folder is not None and written is not None:
            written.add(epoch)
            folder.write_json("history.json", [one.to_json() for one in loop.epochs])
        if on_epoch is not None:
            on_epoch(epoch)

    with events as written:
        try:
            return loop.run(tell, over)
        except Diverged as error:
            if folder is None:
                raise
            names = [pictures.train.names[row] for row in error.rows]
            np.savez(folder / "diverged.npz", x=error.pixels, y=error.labels, names=np.array(names))
            error.args = (f"{error}; the batch is kept in {folder / 'diverged.npz'}: lower the rate (--rate)",)
            raise


def _report(
    net: Any,
    recipe: TrainingRecipe,
    pictures: TrainingData,
    sets: Sets,
    loop: Loop,
    ended: Verdict,
    accuracy: float,
    workers: int,
    times: tuple[float, float, float],
) -> TrainingReport:
    began, decoded, over = times
    best = best_of(list(loop.epochs))
    assert best is not None
    epochs = loop.epochs
    return TrainingReport(
        model=net.name,
        classes=pictures.counts,
        size=pictures.train.size,
        skipped={one.name: one.reason for one in pictures.skipped},
        misnamed={one.name: one.kind for one in pictures.misnamed},
        recipe=recipe,
        acceleration=net.acceleration,
        ended=ended,
        final=best if loop.keeps_best else epochs[-1],
        accuracy=accuracy,
        seconds=Seconds(
            data=decoded - began,
            start=loop.first_step_at - decoded if loop.first_step_at else 0.0,
            steps=sum(one.seconds for one in epochs),
            evaluation=sum(one.whole_seconds - one.seconds for one in epochs),
            whole=over - began,
        ),
        peak_memory_gb=peak_memory_gb(),
        workers=workers,
        views=sets.views,
        machine=this_machine(),
        versions={"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        epochs=tuple(epochs),
    )


def _write(folder: RunFolder, net: Any, report: TrainingReport) -> None:
    """Writes what is left when the run is over; the checkpoint goes last."""
    beside = folder / ".new.keras"  # Keras goes by the suffix
    net.save(beside)
    beside.replace(folder / "model.keras")
    write_curve(
        report.epochs, f"{report.model}: {report.accuracy:.1%} of the validation pictures", folder / "curve.png"
    )
    folder.write_json("report.json", report.to_json())
    folder.checkpoint.remove()
