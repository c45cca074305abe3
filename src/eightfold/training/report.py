"""What a run did, for people and for programs."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from eightfold.bench.machine import Machine
from eightfold.training.acceleration import Acceleration
from eightfold.training.ending import Verdict
from eightfold.training.history import Epoch
from eightfold.training.recipe import TrainingRecipe

__all__ = ["Seconds", "TrainingReport", "peak_memory_gb"]


@dataclass(frozen=True)
class Seconds:
    """Where the time went.

    Attributes:
        data: reading and decoding the pictures.
        start: building the network, the trial of the precision, and compiling, up to the end of the first step.
        steps: all steps of training.
        evaluation: batch-norm statistics and validation.
        whole: from the call to the trained model; of the last process, where the run was resumed.
    """

    data: float
    start: float
    steps: float
    evaluation: float
    whole: float


@dataclass(frozen=True)
class TrainingReport:
    """What a run did.

    Attributes:
        model: the name of the network.
        classes: by number, with how many pictures each has in training and in validation.
        size: height and width of the pictures.
        skipped: names of pictures that could not be read, with the reason.
        misnamed: names of files whose content is not what their name says, with what it is.
        recipe: optimizer, rate and schedule, and why.
        acceleration: what was done to make the network fast.
        ended: why training ended.
        final: what came of the epoch whose weights the model has.
        accuracy: the share of validation pictures whose class the trained model puts first, with its final statistics.
        seconds: where the time went.
        peak_memory_gb: of this process, in 1e9 bytes.
        workers: how many trained together.
        views: of each picture whose features were computed once, as the body was frozen; 0: all layers were trained.
        machine, versions, command, when: what it ran on, and how it was started.
    """

    model: str
    classes: Mapping[str, tuple[int, int]]
    size: int
    skipped: Mapping[str, str]
    misnamed: Mapping[str, str]
    recipe: TrainingRecipe
    acceleration: Acceleration
    ended: Verdict
    final: Epoch
    accuracy: float
    seconds: Seconds
    peak_memory_gb: float
    workers: int
    views: int
    machine: Machine
    versions: Mapping[str, str]
    command: str
    when: str
    epochs: Sequence[Epoch] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it; the epochs are in a file of their own."""
        document = {
            **asdict(self),
            "classes": {name: {"train": train, "validation": held} for name, (train, held) in self.classes.items()},
            "recipe": self.recipe.document(),
            "acceleration": self.acceleration.document(),
            "final": self.final.to_json(),
        }
        del document["epochs"]
        return document


def peak_memory_gb() -> float:
    """The most memory that this process has had at once, in 1e9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
