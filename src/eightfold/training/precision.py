"""The precision that the layers of a built Keras model compute in; their weights stay float32.

switched = switch(model, "bf16")    # as if the model had been made under the policy "mixed_bfloat16"
switched.undo()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras

from eightfold.errors import RecipeError
from eightfold.training.layers import layers, output_layers

__all__ = ["Precision", "Switched", "compiled_again", "precision_of", "switch"]

Precision = Literal["fp32", "bf16"]

POLICIES: dict[str, str] = {"fp32": "float32", "bf16": "mixed_bfloat16"}
PREPROCESSING = "keras.src.layers.preprocessing"
"""Where Keras has the layers that take raw pictures and numbers; it has no class for them all."""


@dataclass(frozen=True)
class Switched:
    """What `switch` did.

    Attributes:
        layers: those whose policy was changed, with the policy they had.
        left: those that computed in float32 and still do, with the reason in words.
    """

    layers: tuple[tuple[Any, Any], ...]
    left: tuple[tuple[Any, str], ...]

    def undo(self) -> None:
        """Gives every layer the policy back that it had."""
        for layer, policy in self.layers:
            layer.dtype_policy = policy


def switch(model: Any, precision: Precision) -> Switched:
    """Lets a model compute in a precision from its next trace on.

    Layers with policies other than `float32` and `mixed_bfloat16` are not touched. In bfloat16, layers that take raw
    input or give the model's output stay float32: Rescaling would round the pixels, and the loss needs the digits.

    Raises:
        RecipeError: there is no such precision.
    """
    if precision not in POLICIES:
        raise RecipeError(f"there is no precision {precision!r}; expected one of {', '.join(POLICIES)}")
    wanted = POLICIES[precision]
    kept = _kept(model) if precision == "bf16" else {}
    changed, left = [], []
    for layer in layers(model):
        policy = layer.dtype_policy
        if isinstance(layer, keras.layers.InputLayer) or policy.name not in POLICIES.values():
            continue
        if id(layer) in kept:
            left.append((layer, kept[id(layer)]))
        elif policy.name != wanted:
            changed.append((layer, policy))
            layer.dtype_policy = wanted
    return Switched(tuple(changed), tuple(left))


def precision_of(model: Any) -> Precision:
    """bf16 where any layer of a model computes in mixed_bfloat16."""
    return "bf16" if any(layer.dtype_policy.name == POLICIES["bf16"] for layer in layers(model)) else "fp32"


def compiled_again(model: Any) -> None:
    """Drops the functions that fit, evaluate and predict have compiled, so that the next call traces the model anew."""
    for one in layers(model):
        for name in ("train_function", "test_function", "predict_function"):
            if getattr(one, name, None) is not None:
                setattr(one, name, None)


def _kept(model: Any) -> dict[int, str]:
    """The layers that stay float32, by id, and why."""
    kept = {
        id(layer): "it takes raw input, whose digits bfloat16 would cut"
        for layer in layers(model)
        if type(layer).__module__.startswith(PREPROCESSING)
    }
    kept |= {id(layer): "it gives the output, which the loss is computed from" for layer in output_layers(model)}
    return {which: why for which, why in kept.items() if which != id(model)}
