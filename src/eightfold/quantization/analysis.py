"""Where an 8-bit model loses its signal and spends its time, as numbers to be drawn.

Kept inside the report of a model, so it is small: histograms are counts to within a tenth, numbers have four digits.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from eightfold.graph.ir import Array
from eightfold.graph.ranges import Range

__all__ = ["BARS", "EXACT_DB", "Analysis", "Distribution", "StepStats", "TensorStats", "WeightStats", "decibels"]

BARS = 64
"""Bars of each histogram."""
EXACT_DB = 99.0
"""Stands for a ratio without noise, or with less than can be told from rounding in float32."""
_OCTAVE = 8
"""Steps of a doubling, in which counts are kept."""


@dataclass(frozen=True)
class Distribution:
    """How many values lie where.

    Attributes:
        lo, hi: the smallest and the largest value; of an activation with zero.
        levels: for each of 64 equal bars between them: 0 where it is empty, else 1 + 8 log2 of the count, rounded.
    """

    lo: float
    hi: float
    levels: tuple[int, ...]

    @classmethod
    def of(cls, counts: Array, seen: Range) -> Distribution:
        """A distribution of counts [64] between the bounds of a range."""
        levels = np.where(counts > 0, 1 + np.rint(_OCTAVE * np.log2(np.maximum(counts, 1))), 0)
        return cls(seen.lo, seen.hi, tuple(int(level) for level in levels))

    @property
    def counts(self) -> tuple[float, ...]:
        """The counts, to within a tenth."""
        return tuple(2 ** ((level - 1) / _OCTAVE) if level else 0.0 for level in self.levels)


@dataclass(frozen=True)
class TensorStats:
    """One float tensor that is held in 8 bits.

    Attributes:
        values: what it held on the samples.
        lo, hi: the smallest and the largest number that has a code.
        encoding: the coding, `unsigned`, `offset` or `signed`.
    """

    values: Distribution
    lo: float
    hi: float
    encoding: str


@dataclass(frozen=True)
class WeightStats:
    """The weight of one step.

    Attributes:
        values: the float weight.
        channels: number of output channels.
        limits: the largest absolute weight of a channel, from the largest to the smallest; of more than 64 channels
            64, evenly picked.
        per_channel: whether each channel has a scale of its own.
        tensor_db: SQNR of the weight rounded with one scale for all, in dB: noise over signal, averaged over the
            channels.
        channel_db: the same with a scale for each channel.
    """

    values: Distribution
    channels: int
    limits: tuple[float, ...]
    per_channel: bool
    tensor_db: float
    channel_db: float


@dataclass(frozen=True)
class StepStats:
    """One 8-bit op.

    Attributes:
        own_db: SQNR of its result when it alone is in 8 bits, in dB; `None` for what computes nothing.
        total_db: SQNR of its result in the 8-bit model, with the error of all before it; `None` where it cannot be
            read out.
        float_ms, int8_ms: time in the float and in the 8-bit model, conversions before it included.
        reads: the tensors that it reads in 8 bits, by name.
        gives: the tensor that it gives in 8 bits; empty where it gives float.
        weight: where it has one.
    """

    own_db: float | None
    total_db: float | None
    float_ms: float
    int8_ms: float
    reads: tuple[str, ...] = ()
    gives: str = ""
    weight: WeightStats | None = None


@dataclass(frozen=True)
class Analysis:
    """What was found out about an 8-bit model on a few samples of its data.

    Attributes:
        samples: how many.
        steps: by name.
        tensors: by name, such as `conv1/Relu:0`.
        float_ms, int8_ms: of one batch of the samples, one op at a time, all ops together.
        rest_ms: (before, after) of the nodes in float that take a thousandth of that or more, by name.
    """

    samples: int
    steps: Mapping[str, StepStats]
    tensors: Mapping[str, TensorStats]
    float_ms: float
    int8_ms: float
    rest_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def pack(self) -> str:
        """The analysis as one short string: JSON of four digits, compressed by zlib, in base64."""
        text = json.dumps(_short(asdict(self)), separators=(",", ":"))
        return base64.b64encode(zlib.compress(text.encode(), 9)).decode()

    @classmethod
    def unpack(cls, text: str) -> Analysis:
        """What `pack` wrote."""
        return cls.from_dict(json.loads(zlib.decompress(base64.b64decode(text))))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Analysis:
        """What `dataclasses.asdict` gave."""
        return cls(
            **{
                **values,
                "steps": {name: _step(step) for name, step in values["steps"].items()},
                "tensors": {name: _tensor(tensor) for name, tensor in values["tensors"].items()},
                "rest_ms": {name: tuple(times) for name, times in values["rest_ms"].items()},
            }
        )


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise), at most `EXACT_DB`; `None` where there is no signal or it is not finite."""
    if not (math.isfinite(signal) and math.isfinite(noise)) or signal <= 0:
        return None
    return EXACT_DB if noise <= 0 else min(EXACT_DB, 10 * math.log10(signal / noise))


def _step(values: Mapping[str, Any]) -> StepStats:
    weight = values["weight"]
    if weight is not None:
        limits = tuple(weight["limits"])
        weight = WeightStats(**{**weight, "values": _distribution(weight["values"]), "limits": limits})
    return StepStats(**{**values, "reads": tuple(values["reads"]), "weight": weight})


def _tensor(values: Mapping[str, Any]) -> TensorStats:
    return TensorStats(**{**values, "values": _distribution(values["values"])})


def _distribution(values: Mapping[str, Any]) -> Distribution:
    return Distribution(**{**values, "levels": tuple(values["levels"])})


def _short(value: Any) -> Any:
    """The value with its floats cut to four digits."""
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_short(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
