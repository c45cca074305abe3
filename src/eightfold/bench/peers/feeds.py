"""What converters and workers of peers are fed with: arrays for the inputs of a model, in any of the environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.protocol import Job, Refusal
from eightfold.bench.synthetic import synthetic

__all__ = ["Feed", "Specs", "batches", "samples"]

Feed = Mapping[str, npt.NDArray[Any]]
Specs = Mapping[str, tuple[list["int | None"], str]]
"""For each input its shape, with None where it is open, and its dtype by NumPy's name."""


def batches(job: Job, specs: Specs) -> Iterator[Feed]:
    """Batches of the job's data, one after another and again from the front; the same one if it is synthetic.

    Raises:
        Refusal: data that does not fit the inputs, or an input for which none can be made.
    """
    if job.feeds is None:
        return cycle([synthetic(specs, job.batch_size)])
    arrays = _named(job.feeds, specs)
    return cycle(_parts(arrays, job.batch_size))


def samples(path: str, specs: Specs) -> list[Feed]:
    """The examples to calibrate with, one by one, or in the batches that a model insists on.

    Raises:
        Refusal: data that does not fit the inputs.
    """
    fixed = {shape[0] for shape, _ in specs.values() if shape and shape[0] is not None}
    return _parts(_named(path, specs), max(fixed, default=1))


def _parts(arrays: Feed, size: int) -> list[Feed]:
    """Whole batches; what is left over at the end begins again from the front."""
    count = min(map(len, arrays.values()))
    places = [np.arange(start, start + size) % count for start in range(0, count, size)]
    return [{name: np.ascontiguousarray(array[place]) for name, array in arrays.items()} for place in places]


def _named(path: str, specs: Specs) -> dict[str, npt.NDArray[Any]]:
    """The arrays under the names and in the dtypes of the inputs; a single one fits a single input by any name."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if len(arrays) == len(specs) == 1:
        arrays = dict(zip(specs, arrays.values(), strict=True))
    if missing := sorted(set(specs) - set(arrays)):
        raise Refusal(f"the data lacks the input {missing[0]!r}; it has {', '.join(sorted(arrays))}")
    return {name: _fitting(name, arrays[name], *spec) for name, spec in specs.items()}


def _fitting(name: str, array: npt.NDArray[Any], shape: list[int | None], dtype: str) -> npt.NDArray[Any]:
    wanted, given = shape[1:], array.shape[1:]
    fits = len(wanted) == len(given) and all(want in (None, has) for want, has in zip(wanted, given, strict=True))
    if not fits or not len(array):
        raise Refusal(f"input {name!r} takes {dtype} of shape {shape}; the data is {array.dtype} of {array.shape}")
    return array.astype(dtype, copy=False)
