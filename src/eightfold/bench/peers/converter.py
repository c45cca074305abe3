"""A converter as a process: what it is asked on the command line, what it answers in one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eightfold.bench.protocol import Refusal, peak_memory_mb

__all__ = ["Conversion", "Convert", "answer"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a converter is asked to make.

    Attributes:
        model: the float SavedModel.
        output: the folder to write to, which is there and empty.
        signature: of the model.
        samples: an .npz file with examples for each input, to quantize with; None leaves the model in float32.
    """

    model: str
    output: Path
    signature: str
    samples: str | None = None

    def arguments(self) -> list[str]:
        """The conversion as a command line."""
        return [self.model, str(self.output), self.signature, *([self.samples] if self.samples else [])]


Convert = Callable[[Conversion], Mapping[str, str]]
"""Writes the model and returns the versions of what made it."""


def answer(convert: Convert) -> None:
    """Does what the command line asks for: MODEL OUTPUT SIGNATURE [SAMPLES.npz].

    The last line of standard output is JSON: seconds, peak memory in MB and versions. A refusal is the last line of
    standard error.
    """
    model, output, *rest = sys.argv[1:]
    start = time.perf_counter()
    try:
        versions = convert(Conversion(model, Path(output), *rest))
    except Refusal as reason:
        raise SystemExit(str(reason)) from reason
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": peak_memory_mb(), "versions": dict(versions)}))
