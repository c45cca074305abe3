"""Keras models: exported to a SavedModel in a temporary folder, and read from there."""

from __future__ import annotations

import inspect
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from eightfold.errors import MissingExtraError, ModelError
from eightfold.graph.model import Model
from eightfold.tf.freeze import quiet
from eightfold.tf.reasons import reason as why
from eightfold.tf.savedmodel import read_saved_model

__all__ = ["is_keras_model", "load_keras_file", "read_keras", "read_keras_file"]


_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    KeyError,
    AttributeError,
    ImportError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What Keras raises on files that are damaged, or written by another Keras."""


def is_keras_model(source: Any) -> bool:
    """Whether an object is a model of Keras 3 or of tf_keras."""
    modules = [sys.modules[name] for name in ("keras", "tf_keras") if name in sys.modules]
    return any(isinstance(source, module.Model) for module in modules)


def read_keras(model: Any, origin: str = "") -> Model:
    """A Keras model as a frozen `Model`.

    Raises:
        ModelError: Keras cannot export it, for example because it has never been called.
    """
    with tempfile.TemporaryDirectory(prefix="eightfold-") as folder, quiet():
        try:
            if _is_legacy(model):
                tf.saved_model.save(model, folder)
            else:
                _export(model, folder)
        except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
            name = getattr(model, "name", type(model).__name__)
            raise ModelError(f"Keras could not export the model {name!r}: {why(error)}") from error
        result = read_saved_model(Path(folder))
    return result.but(origin=origin or f"Keras model {model.name!r}")


def _export(model: Any, folder: str) -> None:
    """Writes a SavedModel of Keras 3 that computes what `predict` does.

    Layers that augment pictures do so in exported models too, unless they are told that this is no training.
    """
    if not getattr(model, "inputs", None) or not any(map(_trains_by_default, _layers(model))):
        model.export(folder, format="tf_saved_model", verbose=False)
        return
    keras = sys.modules["keras"]
    archive = keras.export.ExportArchive()
    archive.track(model)
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    specs = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype, x.name), inputs)
    archive.add_endpoint("serve", lambda inputs: model(inputs, training=False), [specs])
    archive.write_out(folder, verbose=False)


def _layers(layer: Any) -> Iterator[Any]:
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)


def _trains_by_default(layer: Any) -> bool:
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True


def _is_legacy(model: Any) -> bool:
    return type(model).__module__.startswith("tf_keras") or (
        "tf_keras" in sys.modules and isinstance(model, sys.modules["tf_keras"].Model)
    )


def read_keras_file(path: Path) -> Model:
    """A `.keras` or `.h5` file as a frozen `Model`; see `load_keras_file`."""
    return read_keras(load_keras_file(path), str(path))


def load_keras_file(path: Path) -> Any:
    """The Keras model of a `.keras` or `.h5` file; one written by Keras 2 is read with tf_keras.

    Raises:
        ModelError: the file is damaged, or Keras does not know what is in it.
        MissingExtraError: only tf_keras could read it, and that is not installed.
    """
    import h5py
    import keras

    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is damaged: a .keras file is a zip archive, and this is not one")
    if path.suffix != ".keras" and not h5py.is_hdf5(path):
        raise ModelError(f"{path} is damaged: a {path.suffix} file is an HDF5 file, and this is not one")
    try:
        return keras.saving.load_model(path, compile=False)
    except _UNREADABLE as error:
        return _read_legacy(path, error)


def _read_legacy(path: Path, reason: Exception) -> Any:
    """The file as tf_keras reads it; the error of Keras 3 where that does not help either."""
    if path.suffix == ".keras":
        raise ModelError(f"Keras could not load {path}: {why(reason)}") from reason
    try:
        import tf_keras
    except ImportError:
        raise MissingExtraError("tf_keras", "keras2", f"reading {path}, which Keras 3 cannot load,") from reason
    try:
        return tf_keras.models.load_model(path, compile=False)
    except _UNREADABLE as error:
        raise ModelError(f"neither Keras 3 nor tf_keras could load {path}: {why(reason)}") from error
