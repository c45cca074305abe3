"""The layers of a Keras model, however deep, and what is known about them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from eightfold.errors import ModelError, PlatformError

__all__ = ["accepts_training", "batch_norms", "checked", "layers", "names", "output_layers"]


def checked(model: Any) -> None:
    """Whether a model is one of Keras 3 on TensorFlow that has its weights.

    Raises:
        ModelError: it is something else, or has not been built yet.
        PlatformError: Keras computes by another engine.
    """
    if keras.backend.backend() != "tensorflow":
        raise PlatformError(
            f"Keras runs on {keras.backend.backend()}; expected the TensorFlow backend: set KERAS_BACKEND=tensorflow "
            "before Keras is imported"
        )
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise ModelError(f"expected a model of Keras 3 (keras.Model), received {kind}")
    unbuilt = [] if model.built else [model.name]
    unbuilt += [layer.name for layer in batch_norms(model) if not layer.built]
    if unbuilt:
        raise ModelError(
            f"{unbuilt[0]!r} has no weights yet; expected a model that has been built: call it on one batch, or "
            "model.build(input_shape), first"
        )


def layers(model: Any) -> list[Any]:
    """The model, the layers in it, the layers in these, and so on; each once."""
    return list(model._flatten_layers())


def batch_norms(model: Any) -> list[Any]:
    """All batch normalizations of a model, of classes derived from Keras's too."""
    return [layer for layer in layers(model) if isinstance(layer, keras.layers.BatchNormalization)]


def names(those: list[Any]) -> tuple[str, ...]:
    """The paths of layers, `block/bn` for `bn` inside of `block`."""
    return tuple(layer.path or layer.name for layer in those)


def output_layers(model: Any) -> Iterator[Any]:
    """The layers whose results are the model's; none where Keras does not know, as of a class with a `call`."""
    if isinstance(model, keras.Sequential):
        ends = model.layers[-1:]
    elif isinstance(model, keras.models.Model) and getattr(model, "outputs", None):
        ends = [tensor._keras_history.operation for tensor in model.outputs]
    else:
        ends = []
    for end in ends:
        inner = list(output_layers(end))
        yield from inner or ([end] if isinstance(end, keras.layers.Layer) else [])


def accepts_training(model: Any) -> bool:
    """Whether a model can be called with `training=`."""
    known = inspect.signature(model.call).parameters.values()
    return any(one.name == "training" or one.kind is one.VAR_KEYWORD for one in known)
