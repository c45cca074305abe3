"""What `accelerate` did to a model, layer by layer, and why it left the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from eightfold.training.precision import Precision
from eightfold.training.trial import Trial

__all__ = ["Acceleration", "Left"]


@dataclass(frozen=True)
class Left:
    """A layer that was left as it is.

    Attributes:
        layer: its path in the model.
        reason: in words.
    """

    layer: str
    reason: str


@dataclass(frozen=True)
class Acceleration:
    """What was done to a model.

    Attributes:
        fused: paths of the batch normalizations that one kernel computes now.
        unfused: those that Keras still computes.
        precision: what the model computes in now; its weights are float32 in both.
        why: how that precision was chosen, in words.
        switched: paths of the layers whose policy was changed.
        float32: where the precision is bf16, the layers that stay float32.
        trial: the timed steps that the precision was chosen by; None where it was not chosen so.
    """

    fused: tuple[str, ...]
    unfused: tuple[Left, ...]
    precision: Precision
    why: str
    switched: tuple[str, ...] = ()
    float32: tuple[Left, ...] = ()
    trial: Trial | None = None

    def document(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"batch norms fused: {len(self.fused)} of {len(self.fused) + len(self.unfused)}"]
        lines += _reasons(self.unfused)
        lines += [f"precision: {self.precision}; {self.why}"]
        lines += _reasons(self.float32, "in float32: ")
        return "\n".join(lines)


def _reasons(left: tuple[Left, ...], what: str = "") -> list[str]:
    """One line for each reason, with the first layer that it holds for."""
    counts = Counter(one.reason for one in left)
    first = {one.reason: one.layer for one in reversed(left)}
    return [
        f"  {what}{first[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
        for reason, count in counts.items()
    ]
