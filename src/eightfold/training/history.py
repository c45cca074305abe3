"""What came of each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Epoch", "Totals", "best_of"]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures, and what the model made of the validation pictures after it.

    Attributes:
        epoch: its number, from 1.
        step: how many steps were made up to its end.
        loss: cross-entropy of the training pictures, each as it was met: augmented, with the weights of that moment.
        accuracy: the share of them whose class came first.
        val_loss, val_accuracy: of the validation pictures, with batch-norm statistics recomputed.
        rate: the learning rate of the last step.
        side: height and width of the pictures it was trained on and validated with.
        seconds: of the steps alone.
        images_per_second: in these.
        whole_seconds: with statistics and validation.
    """

    epoch: int
    step: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    rate: float
    side: int
    seconds: float
    images_per_second: float
    whole_seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Epoch:
        """What `to_json` gave."""
        return Epoch(**document)

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: loss {self.loss:.4f}, accuracy {self.accuracy:.1%}; "
            f"validation: loss {self.val_loss:.4f}, accuracy {self.val_accuracy:.1%}; "
            f"{self.images_per_second:.1f} images/s at {self.side} px"
        )


@dataclass
class Totals:
    """Sums over the batches of an epoch so far."""

    loss: float = 0.0
    correct: float = 0.0
    examples: float = 0.0

    def add(self, loss: float, correct: float, examples: float) -> None:
        self.loss += loss * examples
        self.correct += correct
        self.examples += examples

    @property
    def mean_loss(self) -> float:
        return self.loss / self.examples if self.examples else math.nan

    @property
    def accuracy(self) -> float:
        return self.correct / self.examples if self.examples else math.nan


def best_of(epochs: list[Epoch]) -> Epoch | None:
    """The one with the highest validation accuracy; of several, the one with the lowest validation loss."""
    return max(epochs, key=lambda one: (one.val_accuracy, -one.val_loss), default=None)
