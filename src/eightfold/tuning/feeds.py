"""The user's data as what every candidate is fed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eightfold.bench.arrays import write_arrays
from eightfold.errors import DataError

__all__ = ["stored"]


@contextmanager
def stored(model: Path, signature: str, data: Any, preprocess: str | None, samples: int) -> Iterator[str | None]:
    """The first examples of the data as an .npz file, for as long as the block lasts; None without data.

    Args:
        model: whose inputs the data is bound to.
        signature: which of its signatures.
        data: whatever `eightfold.calibrate` takes.
        preprocess: for pictures, see there.
        samples: how many examples.

    Raises:
        DataError: the data does not fit the model, or is empty.
        ModelError: the model cannot be loaded.
    """
    if data is None:
        yield None
        return
    from eightfold.data import InputSpec, load
    from eightfold.tf.prepared import Prepared

    with Prepared(model, None if model.suffix == ".pb" else signature) as prepared:
        specs = {name: InputSpec.of(name, spec) for name, spec in prepared.signature.inputs.items()}
    dataset = load(data, inputs=specs, batch_size=samples, samples=samples, preprocess=preprocess)
    batch = next(iter(dataset), None)
    if batch is None:
        raise DataError(f"there are no examples in {data}; expected at least one")
    with tempfile.TemporaryDirectory(prefix="eightfold-") as folder:
        path = Path(folder, "feeds.npz")
        write_arrays(path, batch.inputs)
        yield str(path)
