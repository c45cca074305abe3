"""What each optimizer trains with at a batch of 32, and how that carries over to larger batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "REFERENCES",
    "REFERENCE_BATCH",
    "Name",
    "Reference",
    "batch_norm_momentum",
    "growth_stages",
    "warmup_steps",
]

Name = Literal["sgd", "adam", "adamw", "lars", "lamb", "muon"]
Rule = Literal["linear", "square root"]

REFERENCE_BATCH = 32
"""The batch size that the rates below are for."""
WARMUP = 0.1
"""The share of the steps in which the rate rises."""
MOST_WARMUP = 500
"""Steps; a longer warm-up of a long run is time spent at too low a rate."""
WINDOWS = 10
"""How many times over a moving average forgets, in the whole run, what it held."""
MOMENTA = (0.5, 0.99)
"""The lowest and the highest of batch norms: of the last two batches, and what Keras takes."""


@dataclass(frozen=True)
class Reference:
    """How one optimizer is run.

    Attributes:
        rate: the peak, at a batch of 32.
        rule: how the rate grows with the batch.
        most: the largest rate, however large the batch.
        momentum: of the velocity; of Adam and its kin the first beta.
        weight_decay: of kernels.
        source: of the rule.
    """

    rate: float
    rule: Rule
    most: float
    momentum: float
    weight_decay: float
    source: str

    def at(self, batch_size: int) -> float:
        """The peak rate for a batch, of which `most` is not yet taken into account."""
        times = batch_size / REFERENCE_BATCH
        return self.rate * (times if self.rule == "linear" else math.sqrt(times))


_LINEAR = "Goyal et al. 2017, arXiv:1706.02677"
_ROOT = "Malladi et al. 2022, arXiv:2205.10287"

REFERENCES: Mapping[Name, Reference] = {
    "sgd": Reference(0.03, "linear", 0.2, 0.9, 5e-4, _LINEAR),
    "lars": Reference(0.006, "linear", 0.2, 0.9, 5e-4, f"{_LINEAR}; You et al. 2017, arXiv:1708.03888"),
    "adam": Reference(0.001, "square root", 0.01, 0.9, 0.0, _ROOT),
    "adamw": Reference(0.001, "square root", 0.01, 0.9, 0.01, _ROOT),
    "lamb": Reference(0.0125, "square root", 0.1, 0.9, 0.01, f"{_ROOT}; You et al. 2020, arXiv:1904.00962"),
    "muon": Reference(0.005, "square root", 0.05, 0.9, 0.01, f"{_ROOT}; Jordan et al. 2024"),
}
"""The rates are the best of a few that were tried on small nets and pictures, so for weights that begin at random."""


def warmup_steps(steps: int) -> int:
    """How many steps the rate rises in: a tenth, at least 2 and at most 500, but never more than a fifth.

    Goyal et al. (2017) rise over the first 5 of 90 epochs, because the linear rule does not hold while the weights
    change fast.
    """
    return min(max(round(WARMUP * steps), 2), MOST_WARMUP, steps // 5)


def batch_norm_momentum(updates: int) -> float:
    """The momentum of batch norms that are updated so many times: exp(-10 / updates), in [0.5, 0.99].

    A moving average with momentum m holds about the last 1 / (1 - m) batches. Here that is the last tenth of the run,
    in which weights change little as the rate falls, and exp(-10) = 0.005 % is left of the mean of 0 and variance of 1
    that it began with. Keras's 0.99 needs 1,000 updates for that; after 30 it still holds 74 % of them, which is why
    models trained with large batches seem to have learned nothing. Below 0.5 it would be the statistics of one batch.
    """
    low, high = MOMENTA
    return min(max(math.exp(-WINDOWS / updates), low), high)


def growth_stages(first: int, last: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Stages of (epochs, batch size) in which a batch doubles, about, from the first size to the last.

    They are as long as each other as far as whole epochs allow; fewer than doublings where epochs are few. Empty where
    there is nothing to grow, or only one epoch.
    """
    stages = min(math.ceil(math.log2(last / first)) + 1, epochs) if first < last else 1
    if stages < 2:
        return ()
    sizes = [round(first * (last / first) ** (stage / (stages - 1))) for stage in range(stages)]
    ends = [epochs * (stage + 1) // stages for stage in range(stages)]
    return tuple((end - begin, size) for begin, end, size in zip([0, *ends], ends, sizes, strict=False))
