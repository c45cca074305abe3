"""Transfer learning: a network whose body keeps its weights, and whose last layer is trained.

    with frozen(model):
        body, head = parted(model)      # pictures -> features -> scores; both share the layers of the model

A body that is frozen gives the same features for the same picture in every epoch, so they need be computed only once;
see `eightfold.training.features`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from eightfold.errors import ModelError

__all__ = ["frozen", "parted"]

NOISE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)
"""Layers that act in training only: right before what is trained, they are part of the head."""


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Freezes all layers of a model but the last one that has weights, for as long as the block lasts.

    Layers that were frozen before stay so after it.

    Raises:
        ModelError: only one layer has weights, so that there would be nothing to keep; or the last one with weights is
            a network itself, or frozen.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    if len(weighted) < 2 or isinstance(weighted[-1], keras.models.Model):
        raise ModelError(
            f"{model.name!r} has no last layer apart from a body that could be frozen; expected a network with layers "
            "before its last one, such as those of keras.applications by name"
        )
    if not weighted[-1].trainable_variables:
        raise ModelError(
            f"the last layer of {model.name!r} with weights, {weighted[-1].name!r}, has none that can be trained; "
            "expected one with trainable=True: it is all that is trained where the body is frozen"
        )
    thawed = [layer for layer in weighted[:-1] if layer.trainable]
    for layer in thawed:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in thawed:
            layer.trainable = True


def parted(model: Any) -> tuple[Any, Any]:
    """A body without weights that are trained, from pictures to features, and a head, from features to scores.

    What changes pictures at random inside of the body does so no more: its features are those of inference.

    Raises:
        ModelError: no single tensor lies between the two.
    """
    graph = model if not isinstance(model, keras.Sequential) else keras.Model(model.inputs, model.outputs)
    first = next(one for one in graph.operations if getattr(one, "trainable_variables", None))
    try:
        features = _taken_by(graph, first)
        while isinstance(features._keras_history.operation, NOISE):
            features = _taken_by(graph, features._keras_history.operation)
        return keras.Model(graph.inputs[0], features, name="body"), keras.Model(features, graph.outputs[0], name="head")
    except ValueError as error:
        raise ModelError(
            f"{model.name!r} cannot be parted before {first.name!r}: its last layers take more than what comes "
            "before that; expected one tensor between the frozen body and what is trained"
        ) from error


def _taken_by(graph: Any, wanted: Any) -> Any:
    """The tensor that an operation takes in this graph: `wanted.input` is that of its first call, in any graph.

    Raises:
        ValueError: it takes several.
    """
    waiting, seen = list(graph.outputs), set()
    while waiting:
        operation, node, _ = waiting.pop()._keras_history
        if (id(operation), node) in seen:
            continue
        seen.add((id(operation), node))
        taken = operation._inbound_nodes[node].input_tensors
        if operation is wanted:
            if len(taken) != 1:
                raise ValueError(f"{wanted.name} takes {len(taken)} tensors")
            return taken[0]
        waiting.extend(taken)
    raise ValueError(f"{wanted.name} is not part of the network")
