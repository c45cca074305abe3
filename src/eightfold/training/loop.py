"""The epochs of a run: steps, statistics, validation, checkpoints, until it is over.

    loop = Loop(steps, rate, training, validation, statistics, Ending(epochs=10), checkpoint, about, workers)
    ended = loop.run(tell)

A run that was killed goes on from its last checkpoint and ends with the same weights, bit for bit on one machine: the
checkpoint holds all variables, and what a batch holds follows from its number alone.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from eightfold.errors import DataError, ModelError
from eightfold.graph.ir import Array
from eightfold.training.checkpoint import Checkpoint, assign
from eightfold.training.collective import Collective, WorkerLostError, synchronized
from eightfold.training.ending import FALL, Ending, Verdict
from eightfold.training.falling import Falling
from eightfold.training.history import Epoch, Totals, best_of
from eightfold.training.resizing import any_size
from eightfold.training.statistics import Recorder
from eightfold.training.step import Steps
from eightfold.training.stopping import Stopped

__all__ = ["Batches", "Diverged", "Loop", "OfEpoch", "Tell"]

GOING_ON = ("go on", "lower the rate")
CHECKPOINT_SECONDS = 300.0
"""Between two checkpoints inside an epoch; each epoch ends with one."""

Tell: TypeAlias = Callable[[str, int, "int | None"], None]
"""Told a stage, what is done of it and, where known, its total."""


class Batches(Protocol):
    """What the loop trains or validates with: epochs of pictures, or of what a frozen body has made of them."""

    @property
    def steps(self) -> int:
        """Batches of an epoch."""

    @property
    def side(self) -> int:
        """Height and width of the pictures."""

    def rows_of(self, epoch: int, batch: int) -> Array:
        """Which pictures a batch holds."""

    def dataset(self, epoch: int = 0, first: int = 0) -> Any:
        """The batches of an epoch, from one of them on: inputs and labels."""


OfEpoch: TypeAlias = Callable[[int], Batches]
"""What an epoch, the first of which is 0, trains or is validated with."""


class Diverged(ModelError):
    """The loss is not a number any more.

    Attributes:
        epoch, batch: where; the epoch from 1, the batch from 0.
        pixels, labels: the batch.
        rows: which pictures it was made of.
    """

    def __init__(self, message: str, epoch: int, batch: int, pixels: Array, labels: Array, rows: Array) -> None:
        super().__init__(message)
        self.epoch, self.batch = epoch, batch
        self.pixels, self.labels, self.rows = pixels, labels, rows


@dataclass
class State:
    """What the loop knows beside the variables.

    Attributes:
        epochs: those that are over.
        batch: how many batches of the epoch after them are done.
        totals: of these.
        seconds: that these took.
        lowered: after which epochs the rate fell.
    """

    epochs: list[Epoch] = field(default_factory=list)
    batch: int = 0
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    lowered: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> State:
        epochs = [Epoch.from_json(one) for one in document["epochs"]]
        totals = Totals(**document["totals"])
        return State(epochs, document["batch"], totals, document["seconds"], document["lowered"])


class Loop:
    """One run of training.

    Args:
        steps: the compiled steps, with their model and optimizer.
        rate: the optimizer's schedule.
        training: the batches to train with in each epoch, the first of which is 0; with several workers, this one's
            share of each.
        validation: the batches to judge with after each epoch, likewise.
        statistics: batches of inputs that batch-norm statistics are recomputed from before the validation of each
            epoch, and more of them for the trained model; None: they stay what moving averages are.
        ending: when it is over.
        checkpoint: where it is kept; None: nowhere.
        about: what a checkpoint must have been made with to be gone on from, by names for people.
        workers: who trains together.
    """

    def __init__(
        self,
        steps: Steps,
        rate: Falling,
        training: OfEpoch,
        validation: OfEpoch,
        statistics: tuple[OfEpoch, OfEpoch] | None,
        ending: Ending,
        checkpoint: Checkpoint | None,
        about: dict[str, Any],
        workers: Collective,
    ) -> None:
        self._steps, self._rate = steps, rate
        self._training, self._validation = training, validation
        self._recorder, self._statistics = Recorder(steps.model), statistics
        self._ending, self._checkpoint, self._about = ending, checkpoint, about
        self._workers = workers
        self._best: list[Array] = []
        self.state = State()
        self.first_step_at: float | None = None
        """When the first step of this process was done, as `time.perf_counter` tells it; it includes compiling."""

    @property
    def epochs(self) -> Sequence[Epoch]:
        """Those that are over."""
        return self.state.epochs

    @property
    def keeps_best(self) -> bool:
        """Whether the model is that of the best epoch, not of the last: where their number was left open."""
        return self._ending.epochs is None

    @property
    def recomputes(self) -> bool:
        """Whether batch-norm statistics are recomputed."""
        return self._statistics is not None and self._recorder.records

    def resume(self) -> None:
        """Goes on from the checkpoint.

        Raises:
            DataError: it is damaged, or of another run.
        """
        loop = None
        if self._workers.rank == 0:
            assert self._checkpoint is not None
            groups, state = self._checkpoint.load()
            self._check(state["about"])
            for name, variables in self._variables().items():
                assign(variables, groups.get(name, []))
            self._best = groups.get("best", [])
            loop = state["loop"]
        self.state = State.from_json(self._workers.gather(loop)[0])
        if self._workers.gather(bool(self._best))[0]:
            self._best = self._workers.broadcast(self._best or [np.asarray(one) for one in self._weights()])
        synchronized(self._workers, [one for those in self._variables().values() for one in those])

    def _check(self, about: dict[str, Any]) -> None:
        """Raises `DataError` where a checkpoint was made with something else."""
        differing = [name for name in {**about, **self._about} if about.get(name) != self._about.get(name)]
        if differing:
            parts = "; ".join(f"{one}: {about.get(one)} then, {self._about.get(one)} now" for one in differing)
            raise DataError(
                f"the run was begun as another, so it cannot be resumed ({parts}); ask for the same, or start anew "
                "with --overwrite"
            )

    def run(self, tell: Tell, on_epoch: Callable[[Epoch], None] = lambda _: None) -> Verdict:
        """Trains until it is over; returns why that is.

        Args:
            tell: told the steps.
            on_epoch: told each epoch when it is over.

        Raises:
            Diverged: the loss is not finite. The last checkpoint is as it was.
            WorkerLostError: another worker is gone. A checkpoint of the last step has been written.
            Stopped: a worker was asked to stop, and all have, after the same step. Likewise.
        """
        self._workers.stop.heeded = True
        verdict = self._verdict()
        while verdict in GOING_ON:
            try:
                epoch = self._epoch(tell)
            except WorkerLostError as lost:
                if self._workers.rank == lost.heir:  # all have the state of the last step that was made by all
                    self._write()
                raise
            except Stopped:
                self.save()
                raise
            self.state.epochs.append(epoch)
            self.state.batch, self.state.totals, self.state.seconds = 0, Totals(), 0.0
            self._keep_best(epoch)
            verdict = self._ending.verdict(self.state.epochs, self.state.lowered)
            if verdict == "lower the rate":
                self._rate.fall(FALL)
                self.state.lowered.append(epoch.epoch)
            self.save()
            with self._workers.busy():
                on_epoch(epoch)
        if self.keeps_best and self._best:
            assign(self._weights(), self._best)
            synchronized(self._workers, self._weights())
        return verdict

    def save(self) -> None:
        """Writes a checkpoint, where there is a place for it; of several workers the first does."""
        if self._workers.rank == 0:
            with self._workers.busy():
                self._write()

    def _write(self) -> None:
        if self._checkpoint is not None:
            groups = {**self._variables(), "best": self._best}
            self._checkpoint.save(groups, {"about": self._about, "loop": self.state.to_json()})

    def _verdict(self) -> Verdict:
        return self._ending.verdict(self.state.epochs, self.state.lowered) if self.state.epochs else "go on"

    @property
    def _over(self) -> bool:
        return self._verdict() not in GOING_ON

    def _epoch(self, tell: Tell) -> Epoch:
        number = len(self.state.epochs)
        before_it, total = self._steps_before(number), self._steps_before(self._ending.most)
        batches = self._training(number)
        start = saved = time.perf_counter()
        before = self.state.seconds
        for pixels, labels in batches.dataset(number, self.state.batch):
            self._step(number, pixels, labels)
            now = time.perf_counter()
            self.state.seconds = before + now - start
            if self.first_step_at is None:
                self.first_step_at = now
            with self._workers.busy():  # a terminal may be held
                tell("train", before_it + self.state.batch, total)
            self._stop_where_asked()
            if now - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = now
        rate = float(self._steps.optimizer.learning_rate)
        if self.recomputes:
            self._recompute(number, final=number + 1 == self._ending.epochs)
        validated = self.validated(number)
        totals, seconds = self.state.totals, self.state.seconds
        return Epoch(
            epoch=number + 1,
            step=before_it + batches.steps,
            loss=totals.mean_loss,
            accuracy=totals.accuracy,
            val_loss=validated.mean_loss,
            val_accuracy=validated.accuracy,
            rate=rate,
            side=batches.side,
            seconds=seconds,
            images_per_second=totals.examples / seconds,
            whole_seconds=before + time.perf_counter() - start,
        )

    def _steps_before(self, epoch: int) -> int:
        """Steps of all epochs before one."""
        return sum(self._training(one).steps for one in range(epoch))

    def _step(self, epoch: int, pixels: Any, labels: Any) -> None:
        with self._workers.guarded():
            figures = [float(one) for one in self._steps.train(pixels, labels)]
        if not math.isfinite(figures[0]):
            batch = self.state.batch
            raise Diverged(
                f"the loss is {figures[0]} in epoch {epoch + 1}, batch {batch}; expected a finite number: the rate is "
                "too high, or the batch holds something that the model cannot take",
                epoch + 1,
                batch,
                np.asarray(pixels),
                np.asarray(labels),
                self._training(epoch).rows_of(epoch, batch),
            )
        self.state.totals.add(*figures)
        self.state.batch += 1

    def finish(self) -> tuple[float, float]:
        """Takes the final statistics, if the last epoch did not: loss and accuracy of the validation pictures then."""
        last = self.state.epochs[-1]
        if last.epoch == self._ending.epochs:
            return last.val_loss, last.val_accuracy
        if self.recomputes:
            self._recompute(last.epoch - 1, final=True)
        validated = self.validated(last.epoch - 1)
        return validated.mean_loss, validated.accuracy

    def _recompute(self, epoch: int, *, final: bool) -> None:
        assert self._statistics is not None
        with any_size(self._steps.model):
            self._recorder.recompute(self._until_stopped(self._statistics[final](epoch).dataset()))
        synchronized(self._workers, self._steps.model.non_trainable_variables)

    def validated(self, epoch: int) -> Totals:
        """What the model makes of the validation pictures, as large as an epoch, the first of which is 0, has them.

        Raises:
            Stopped: a worker was asked to stop.
            WorkerLostError: another worker is gone.
        """
        totals = Totals()
        for pixels, labels in self._until_stopped(self._validation(epoch).dataset()):
            if not len(labels):
                continue  # the last batch had fewer pictures than there are workers
            totals.add(*(float(one) for one in self._steps.evaluate(pixels, labels)))
        sums = [np.array([totals.loss, totals.correct, totals.examples])]
        return Totals(*(float(one) for one in self._workers.sum_arrays(sums)[0]))

    def _until_stopped(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Batches of what changes no weights, until a worker is asked to stop: it is done anew when the run goes on."""
        for batch in batches:
            self._workers.barrier()
            self._stop_where_asked()
            yield batch

    def _stop_where_asked(self) -> None:
        number = self._workers.stopping
        if number:
            done = len(self.state.epochs)
            last = "the last epoch" if self._over else f"batch {self.state.batch} of epoch {done + 1}"
            raise Stopped(f"Stopped by {signal.Signals(number).name} after {last}", number)

    def _keep_best(self, epoch: Epoch) -> None:
        """Without a number of epochs the best of them is what counts: its weights are kept."""
        if self.keeps_best and best_of(self.state.epochs) is epoch:
            self._best = [np.asarray(one) for one in self._weights()]

    def _weights(self) -> list[Any]:
        return list(self._steps.model.weights)

    def _variables(self) -> dict[str, list[Any]]:
        return {
            "model": list(self._steps.model.variables),
            "optimizer": list(self._steps.optimizer.variables),
            "rate": [self._rate.factor],
        }
