"""The process that holds one TensorFlow model while a suite measures it: `python -m eightfold.bench.worker`.

It runs the model as plain TensorFlow would in production: a Session over the loaded graph and one prepared callable,
bound to the signature's tensors by name; `eightfold.tf.prepared`, which `eightfold.load` uses too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.protocol import Job, Refusal, Run, serve
from eightfold.bench.synthetic import synthetic
from eightfold.data.checks import fits_shape
from eightfold.data.spec import described
from eightfold.errors import ModelError, PlatformError
from eightfold.graph.model import TensorSpec

__all__ = ["load", "main", "synthetic"]


def main() -> None:
    """Serves the suite until its end of the pipe is closed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    serve(load)


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Loads a SavedModel folder, or a frozen graph in a `.pb` file, into a Session of its own.

    Raises:
        Refusal: no such signature, data that does not fit it, or a model in 8 bits without oneDNN.
    """
    import tensorflow as tf

    from eightfold.tf.prepared import Prepared, aligned

    try:
        # A frozen graph has but one way to be called.
        signature = None if Path(job.model).suffix == ".pb" else job.signature
        model = Prepared(
            job.model, signature, intra=job.intra, inter=job.inter, layout=job.layout, bfloat16=job.bfloat16
        )
    except (ModelError, PlatformError) as error:
        raise Refusal(str(error)) from error
    inputs = model.signature.inputs
    if job.feeds is None:
        batches = [synthetic(_specs(inputs), job.batch_size)]
    else:
        batches = _given(inputs, job.feeds, job.batch_size)
    turns = itertools.cycle([[aligned(batch[name]) for name in inputs] for batch in batches])
    return lambda: model(*next(turns)), {"tensorflow": tf.__version__, "numpy": np.__version__}


def _specs(inputs: Mapping[str, TensorSpec]) -> dict[str, tuple[list[int | None], str]]:
    for name, spec in inputs.items():
        if not spec.shape.known_rank:
            raise Refusal(f"input {name!r} has an unknown rank, so no input can be made for it; give data")
    return {name: (list(spec.shape), str(spec.dtype)) for name, spec in inputs.items()}


def _given(inputs: Mapping[str, TensorSpec], path: str, batch_size: int) -> list[dict[str, npt.NDArray[Any]]]:
    """The given arrays in batches; where they hold less than one, their examples come again.

    What is left over after the last whole batch is not used.
    """
    with np.load(path, allow_pickle=True) as arrays:  # strings are objects; the suite has written the file
        if missing := sorted(set(inputs) - set(arrays.files)):
            raise Refusal(f"the data lacks the input {missing[0]!r}; it has {', '.join(sorted(arrays.files))}")
        given = {name: arrays[name] for name in inputs}
    examples = min((len(array) for array in given.values() if array.ndim), default=1)
    return [
        {name: _batch(given[name], start, name, spec, batch_size) for name, spec in inputs.items()}
        for start in range(0, max(1, examples // batch_size) * batch_size, batch_size)
    ]


def _batch(array: npt.NDArray[Any], start: int, name: str, spec: TensorSpec, batch_size: int) -> npt.NDArray[Any]:
    """The batch that begins at an example. A value of rank 0 goes with every batch."""
    known = spec.shape if spec.shape.known_rank else None
    batch = array
    if array.ndim:
        batch = np.resize(array[start : start + batch_size], (batch_size, *array.shape[1:]))
    fits = fits_shape(batch.shape, known) and (not known or known[0] in (None, batch_size))
    given = "string" if batch.dtype.hasobject else batch.dtype.name
    if given != spec.dtype or not fits:
        raise Refusal(f"input {name!r} takes {spec}; the data is {described(batch.dtype, batch.shape)}")
    return batch


if __name__ == "__main__":
    main()
