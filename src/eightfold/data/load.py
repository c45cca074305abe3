"""One entry to every form of data that users hold."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.arrays import in_memory, npy, npz
from eightfold.data.batch import Source
from eightfold.data.dataset import Dataset
from eightfold.data.folder import folder
from eightfold.data.imported import imported, names_function
from eightfold.data.recorded import REPLAY_BYTES, Recorded
from eightfold.data.spec import InputSpec, fixed_batch
from eightfold.data.streams import Once, Stream, is_tf_dataset, tf_dataset
from eightfold.data.tfrecord import is_tfrecord, tfrecord
from eightfold.errors import DataError

__all__ = ["load"]

Opened = tuple[Source, tuple[str, ...]]
"""A source, and notes on what was decided."""

FORMS = "an .npz or .npy file, a folder of pictures, TFRecord files (a path, pattern or folder), or module:function"


def load(
    source: Any,
    *,
    inputs: Mapping[str, InputSpec],
    batch_size: int = 32,
    samples: int | None = None,
    preprocess: str | None = None,
) -> Dataset:
    """The data as batches for a model with these inputs.

    Args:
        source: an array; a dict of arrays; `(x, y)` with labels; a `tf.data.Dataset`; an iterable of batches
            or of single examples; a function that gives any of these; a path to an `.npz` or `.npy` file, a folder of
            pictures or TFRecord files; or `module:function`. Arrays are bound to inputs by name; without
            names only where there is a single way. Values are not scaled.
        inputs: by name; a fixed batch dimension overrides `batch_size`.
        batch_size: how many examples a batch has; the last may have fewer.
        samples: use the first so many examples only.
        preprocess: for pictures: raw (the default), tf, torch, caffe or `module:function`.

    Raises:
        DataError: the data is missing, broken, or does not fit the inputs. What only reading can tell is
            raised when the data set is iterated.
        MissingExtraError: pictures need Pillow.
    """
    if batch_size < 1:
        raise DataError(f"the batch size must be 1 or more, not {batch_size}")
    if not inputs:
        raise DataError("the model has no inputs, so there is nothing to feed data to")
    fixed = fixed_batch(inputs.values())
    size, exact = fixed or batch_size, fixed is not None
    if isinstance(source, Dataset):
        dataset = _for_model(source, inputs, size, exact=exact)
    else:
        opened, notes = _opened(source, inputs, samples, preprocess)
        dataset = Dataset(source=opened, specs=inputs, batch_size=size, exact=exact, notes=notes)
    return dataset if samples is None else dataset.limited(samples)


def _for_model(dataset: Dataset, specs: Mapping[str, InputSpec], batch_size: int, *, exact: bool) -> Dataset:
    """The same examples for another model whose inputs have the same names."""
    if set(specs) != set(dataset.specs):
        raise DataError(f"the data is for the inputs {', '.join(dataset.specs)}; the model has {', '.join(specs)}")
    return replace(dataset, specs=specs, batch_size=batch_size, exact=exact)


def _opened(value: Any, specs: Mapping[str, InputSpec], samples: int | None, preprocess: str | None) -> Opened:
    if isinstance(value, str) and names_function(value) and not Path(value).exists():
        value = imported(value)
    if isinstance(value, (str, Path)):
        return _path(str(value), specs, preprocess)
    if callable(value) and not isinstance(value, Iterable):
        made = value()
        if not isinstance(made, Iterator):
            return _opened(made, specs, samples, preprocess)
        _no_preprocessing(preprocess)
        return Stream(value, specs), ()
    _no_preprocessing(preprocess)
    return _object(value, specs, samples), ()


def _object(value: Any, specs: Mapping[str, InputSpec], samples: int | None) -> Source:
    if is_tf_dataset(value):
        return tf_dataset(value, specs, samples)
    if isinstance(value, Iterator):
        return Recorded(Once(value, specs), REPLAY_BYTES if samples is None else None)
    if _is_arrays(value, specs):
        return in_memory(value, specs)
    if isinstance(value, Iterable):
        return Stream(lambda: value, specs)
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):  # keras.utils.PyDataset of older Keras
        return Stream(lambda: (value[i] for i in range(len(value))), specs)
    raise DataError(f"data cannot be read from a {type(value).__name__}; expected arrays, batches, or {FORMS}")


def _is_arrays(value: Any, specs: Mapping[str, InputSpec]) -> bool:
    """Whether the value is all of the data at once, rather than an iterable of batches."""
    if isinstance(value, (np.ndarray, Mapping, tuple)) or hasattr(value, "__array__"):
        return True
    several = isinstance(value, list) and 1 < len(specs) == len(value)
    return several and all(hasattr(part, "__array__") for part in value)


def _path(text: str, specs: Mapping[str, InputSpec], preprocess: str | None) -> Opened:
    path = Path(text).expanduser()
    if path.is_dir():
        records = sorted(p for p in path.iterdir() if is_tfrecord(p))
        return tfrecord(records, specs, preprocess) if records else folder(path, specs, preprocess)
    if path.is_file() and path.suffix == ".npz":
        _no_preprocessing(preprocess)
        return npz(path, specs), ()
    if path.is_file() and path.suffix == ".npy":
        _no_preprocessing(preprocess)
        return npy(path, specs), ()
    if is_tfrecord(path):
        return tfrecord([path], specs, preprocess)
    if path.is_file():
        raise DataError(f"{path} is of no known kind; expected {FORMS}")
    if matches := sorted(p for p in map(Path, glob.glob(str(path))) if p.is_file()):
        return tfrecord(matches, specs, preprocess)
    raise DataError(f"there is no file or folder {path}; data is {FORMS}")


def _no_preprocessing(preprocess: str | None) -> None:
    if preprocess not in (None, "raw"):
        raise DataError(f"preprocessing '{preprocess}' is for picture files; arrays must hold what the model takes")
