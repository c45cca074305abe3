"""`tf.function`s and concrete functions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.graph.model import Model
from eightfold.tf.freeze import quiet
from eightfold.tf.savedmodel import read_saved_model

__all__ = ["is_function", "read_function"]


def is_function(source: Any) -> bool:
    return hasattr(source, "get_concrete_function") or hasattr(source, "structured_input_signature")


def read_function(function: Any) -> Model:
    """A function, saved as the only signature of a module and read from there.

    Raises:
        ModelError: a `tf.function` without an input signature, of which no graph can be made.
    """
    concrete = function
    if not hasattr(function, "structured_input_signature"):
        if function.input_signature is None:
            raise ModelError(
                "a tf.function needs an input_signature to be exported; "
                "give it one, or pass function.get_concrete_function(tf.TensorSpec(...))"
            )
        concrete = function.get_concrete_function()
    module = tf.Module()
    module.variables_of_function = list(concrete.graph.variables)
    with tempfile.TemporaryDirectory(prefix="eightfold-") as folder, quiet():
        tf.saved_model.save(module, folder, signatures=_named_outputs(concrete))
        model = read_saved_model(Path(folder))
    return model.but(origin=f"function {concrete.name!r}")


def _named_outputs(concrete: Any) -> Any:
    """The function with its outputs in a dict, as signatures need them."""
    outputs = concrete.structured_outputs
    if isinstance(outputs, dict):
        return concrete
    specs = concrete.structured_input_signature[0]

    def named(*args: Any) -> dict[str, Any]:
        results = concrete(*args)
        flat = tf.nest.flatten(results)
        return {f"output_{index}": value for index, value in enumerate(flat)}

    return tf.function(named, input_signature=specs).get_concrete_function()
