"""`tf.function`s and concrete functions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.graph.model import Model
from eightfold.tf.freeze import quiet
from eightfold.tf.reasons import reason
from eightfold.tf.savedmodel import read_saved_model

__all__ = ["is_function", "read_function"]


def is_function(source: Any) -> bool:
    return hasattr(source, "get_concrete_function") or hasattr(source, "structured_input_signature")


def read_function(function: Any) -> Model:
    """A function, saved as the only signature of a module and read from there.

    Raises:
        ModelError: a `tf.function` without an input signature, of which no graph can be made, or one that cannot be
            saved, for example because it reads a look-up table that only its module knows.
    """
    concrete = function
    if not hasattr(function, "structured_input_signature"):
        if function.input_signature is None:
            raise ModelError(
                "a tf.function needs an input_signature to be exported; "
                "give it one, or pass function.get_concrete_function(tf.TensorSpec(...))"
            )
        concrete = function.get_concrete_function()
    name = tf.compat.as_str(concrete.name)
    module = tf.Module()
    module.variables_of_function = list(concrete.graph.variables)
    with tempfile.TemporaryDirectory(prefix="eightfold-") as folder, quiet():
        try:
            tf.saved_model.save(module, folder, signatures=_flattened(concrete))
        except (ValueError, TypeError, AssertionError, tf.errors.OpError) as error:
            raise ModelError(
                f"the function {name!r} cannot be exported by itself: {reason(error)}; "
                "save the module that owns it with tf.saved_model.save and give that folder"
            ) from error
        model = read_saved_model(Path(folder))
    return model.but(origin=f"function {name!r}")


def _flattened(concrete: Any) -> Any:
    """The function with its results in one flat dict: a signature holds nothing nested."""
    outputs = concrete.structured_outputs
    results = outputs.values() if isinstance(outputs, dict) else outputs
    if all(isinstance(result, tf.Tensor) for result in (results if _is_group(results) else [results])):
        return concrete
    structure = concrete.structured_input_signature

    def flat(*tensors: Any) -> dict[str, Any]:
        given = iter(tensors)
        args, kwargs = tf.nest.map_structure(
            lambda leaf: next(given) if isinstance(leaf, tf.TensorSpec) else leaf, structure
        )
        values = (value for value in tf.nest.flatten(concrete(*args, **kwargs)) if value is not None)
        return {f"output_{index}": value for index, value in enumerate(values)}

    specs = [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, tf.TensorSpec)]
    return tf.function(flat, input_signature=specs).get_concrete_function()


def _is_group(value: Any) -> bool:
    return not isinstance(value, tf.Tensor) and hasattr(value, "__iter__")
