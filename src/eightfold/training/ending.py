"""When a run of training is over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eightfold.errors import RecipeError
from eightfold.training.history import Epoch, best_of

__all__ = ["AUTO_EPOCHS", "Ending", "Verdict", "target_of"]

AUTO_EPOCHS = 200
"""No run goes on longer by itself."""
PATIENCE = 5
"""Epochs without a better validation loss after which the rate falls, and the next time the run ends."""
FALLS = 2
"""How often the rate falls before the run ends."""
FALL = 0.2

Verdict = Literal["go on", "lower the rate", "target", "epochs", "no gain"]

_TARGET = re.compile(r"(?:accuracy\s*=\s*)?(0?\.\d+|1(?:\.0*)?|\d+(?:\.\d+)?%)")


@dataclass(frozen=True)
class Ending:
    """When it ends.

    Attributes:
        epochs: after so many; None: when validation gains no more (`PATIENCE`, `FALLS`).
        target: as soon as the validation accuracy is at least this.
        growing: epochs at the beginning in which it does not count: they have smaller pictures than the run ends with.
    """

    epochs: int | None = None
    target: float | None = None
    growing: int = 0

    @property
    def most(self) -> int:
        """The number of epochs at most."""
        return AUTO_EPOCHS if self.epochs is None else self.epochs

    def verdict(self, epochs: Sequence[Epoch], lowered: Sequence[int]) -> Verdict:
        """What to do after these epochs.

        Args:
            epochs: all so far.
            lowered: after which of them the rate fell.
        """
        last = epochs[-1]
        if self.target is not None and last.epoch > self.growing and last.val_accuracy >= self.target:
            return "target"
        if last.epoch >= self.most:
            return "epochs"
        if self.epochs is not None or not self._stands_still(epochs, lowered):
            return "go on"
        return "lower the rate" if len(lowered) < FALLS else "no gain"

    def _stands_still(self, epochs: Sequence[Epoch], lowered: Sequence[int]) -> bool:
        """Whether the best epoch is long past, and the rate fell longer ago than that."""
        best = best_of(list(epochs))
        assert best is not None
        since = max([best.epoch, *lowered])
        return epochs[-1].epoch - since >= PATIENCE


def target_of(text: str) -> float:
    """`accuracy=0.98`, `0.98` or `98%` as a share.

    Raises:
        RecipeError: it is something else.
    """
    found = _TARGET.fullmatch(text.strip())
    value = None
    if found is not None:
        value = float(found[1][:-1]) / 100 if found[1].endswith("%") else float(found[1])
    if value is None or not 0 < value <= 1:
        raise RecipeError(f"a target is a validation accuracy such as accuracy=0.98 or 98%, not {text!r}")
    return value
