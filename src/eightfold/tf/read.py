"""Reads a model in any of the forms in which TensorFlow users hold one.

a folder with saved_model.pb(txt)     SavedModel of TensorFlow 1 or 2
*.keras, *.h5, a keras.Model          Keras 3, and tf_keras where it is installed
*.pb                                  frozen GraphDef
a checkpoint: PREFIX with PREFIX.meta, or its folder
tf.function, ConcreteFunction
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eightfold.errors import ModelError
from eightfold.graph.model import Model
from eightfold.tf.checkpoint import checkpoint_prefix, holds_values_only, read_checkpoint
from eightfold.tf.frozen import read_frozen
from eightfold.tf.function import is_function, read_function
from eightfold.tf.keras import is_keras_model, read_keras, read_keras_file
from eightfold.tf.savedmodel import is_saved_model, read_saved_model

__all__ = ["read_model"]

_EXPECTED = (
    "expected a SavedModel folder, a .keras or .h5 file, a frozen .pb, a checkpoint with its .meta file, "
    "a Keras model or a tf.function"
)


def read_model(source: Any, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Model:
    """A frozen model with its signatures, from whatever the user has.

    Args:
        source: a path, a Keras model, or a function.
        inputs, outputs: names of tensors, for graphs that come without a signature.

    Raises:
        ModelError: it does not exist, is damaged, or is none of these; or names were given for a model with signatures.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.name in ("saved_model.pb", "saved_model.pbtxt") and path.is_file():
            path = path.parent
        if path.suffix in (".pb", ".pbtxt") and path.is_file():
            return read_frozen(path, inputs, outputs)
        prefix = None if is_saved_model(path) else checkpoint_prefix(path)
        if prefix is not None:
            return read_checkpoint(prefix, inputs, outputs)
    if inputs or outputs:
        raise ModelError("names of inputs or outputs are for frozen graphs and checkpoints; this model has signatures")
    if isinstance(source, str | os.PathLike):
        return _read_path(path)
    if is_keras_model(source):
        return read_keras(source)
    if is_function(source):
        return read_function(source)
    raise ModelError(f"{type(source).__name__} is not a model; {_EXPECTED}")


def _read_path(path: Path) -> Model:
    if is_saved_model(path):
        return read_saved_model(path)
    if path.suffix in (".keras", ".h5", ".hdf5") and path.is_file():
        return read_keras_file(path)
    if holds_values_only(path):
        raise ModelError(f"{path} is a checkpoint without a .meta file: it holds values and no graph; {_EXPECTED}")
    if not path.exists():
        raise ModelError(f"there is no model at {path}; {_EXPECTED}")
    if path.is_dir():
        raise ModelError(f"the folder {path} holds no saved_model.pb and no checkpoint with a .meta file; {_EXPECTED}")
    raise ModelError(f"{path} is not a model file that eightfold knows (suffix {path.suffix!r}); {_EXPECTED}")
