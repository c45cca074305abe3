"""Real input for `eightfold benchmark`: the first batches of a user's data, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eightfold.cli.evaluate import chosen
from eightfold.cli.quiet import import_tensorflow
from eightfold.errors import DataError

if TYPE_CHECKING:
    from eightfold.data import InputSpec
    from eightfold.graph.ir import Array

__all__ = ["feeds", "inputs_of"]

BATCHES = 8
"""How many batches are held in memory, to be used in turn: more than caches hold, and far less than memory."""


def feeds(
    data: str,
    inputs: Mapping[str, InputSpec],
    batch_size: int,
    samples: int | None,
    preprocess: str | None,
    *,
    labels: bool = False,
) -> dict[str, Array]:
    """An array for each input by name: the first examples, as many as `BATCHES` batches have.

    Args:
        data: what `eightfold evaluate` takes.
        inputs: what the data is bound to.
        batch_size: of the largest batches that are measured.
        samples: how many examples at most.
        preprocess: what is done to pixels.
        labels: whether labels are needed; they are given as `y`.

    Raises:
        DataError: the data cannot be read, does not fit the inputs, is empty, or lacks the labels.
    """
    from eightfold.data import load
    from eightfold.data.batch import joined

    most = BATCHES * batch_size
    limit = most if samples is None else min(samples, most)
    whole = joined(list(load(data, inputs=inputs, batch_size=batch_size, samples=limit, preprocess=preprocess)))
    if not labels:
        return whole.inputs
    if whole.labels is None:
        raise DataError(f"{data} has no labels; training needs a class number for each example")
    return {**whole.inputs, "y": whole.labels}


def inputs_of(model: Path, signature: str) -> dict[str, InputSpec]:
    """What a model's signature asks of its inputs.

    Raises:
        ModelError: the model cannot be read, or has no such signature.
    """
    import_tensorflow()
    from eightfold.data import InputSpec
    from eightfold.tf.read import read_model

    call = chosen(read_model(str(model)), signature)
    return {name: InputSpec.of(name, spec) for name, spec in call.inputs.items()}
