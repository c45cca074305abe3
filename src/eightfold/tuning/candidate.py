"""A way to run a model, what a turn of it gave, and what is wanted of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from eightfold.running.settings import Mode, Runtime

__all__ = ["Aim", "Candidate", "Failure", "Measure", "Outcome", "Sample"]

Variant = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True)
class Candidate:
    """A model and the settings to run it with.

    Attributes:
        variant: which form of the model: `fp32` is the float model as it is given, `bf16` the same with TensorFlow's
            bfloat16, `int8` the 8-bit model that was given, beside it or alone.
        runtime: the settings.
    """

    variant: Variant
    runtime: Runtime

    @cached_property
    def key(self) -> str:
        """A text that equal candidates share and others do not."""
        return json.dumps({"variant": self.variant, **self.runtime.to_json()}, sort_keys=True)

    @cached_property
    def process(self) -> str:
        """The key without the batch size: candidates that share it can be measured in the same processes."""
        return replace(self, runtime=replace(self.runtime, batch_size=1)).key

    def __hash__(self) -> int:
        return hash(self.key)

    def but(self, **changes: Any) -> Candidate:
        """The same with other settings."""
        return replace(self, runtime=replace(self.runtime, **changes))

    def with_env(self, name: str, value: str | None) -> Candidate:
        """The same with an environment variable set, or with TensorFlow's default of it."""
        others = {key: text for key, text in self.runtime.env.items() if key != name}
        return self.but(env=others if value is None else {**others, name: value})


@dataclass(frozen=True, slots=True)
class Sample:
    """What one turn gave: images in a second, of all instances together, and the times of single batches."""

    images_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a candidate could not be measured."""

    reason: str


Outcome: TypeAlias = "Sample | Failure"
Measure: TypeAlias = "Callable[[Sequence[Candidate]], Iterator[tuple[Candidate, Outcome]]]"
"""One round: gives each of the candidates a turn, one after the other; stops where it is no longer asked."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted.

    Attributes:
        mode: the least time of a batch, or the most images in a second.
        max_latency_ms: in throughput mode, what the 90th percentile of the batches' times may reach.
    """

    mode: Mode
    max_latency_ms: float | None = None

    STEEP = 3.0
    """How fast the worth of a candidate falls that is too slow: faster than any gain in throughput pays for it."""

    def worth(self, sample: Sample) -> float:
        """The logarithm of what is to be as large as possible: differences are ratios."""
        if self.mode == "latency":
            return -math.log(sample.p50_ms)
        return math.log(sample.images_per_second) - self.STEEP * math.log(max(1.0, self.excess(sample)))

    def excess(self, sample: Sample) -> float:
        """How many times as long as allowed a batch takes; 0 where everything is allowed."""
        return sample.p90_ms / self.max_latency_ms if self.max_latency_ms and self.mode == "throughput" else 0.0
