"""Step 1: any TensorFlow or Keras model as a float graph that is frozen, folded and proven equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context
from eightfold.passes.pipeline import EXPORT
from eightfold.tf.inline import is_stateful
from eightfold.tf.read import read_model
from eightfold.tf.samples import GUESSES, random_feeds
from eightfold.tf.session import Runner, evaluate, infer

__all__ = ["Progress", "export", "largest_difference"]

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with the name of a stage, the work done in it and, where known, its total."""

_TOLERANCE = 1e-4
"""Relative to the largest output. Folding reorders float32 products: a few units in the last place for each layer."""


def export(
    model: Any,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Model:
    """Reads a model and makes it ready to be quantized.

    Variables become constants, function calls are inlined, training-only nodes go, constants and batch norms fold,
    NCHW becomes NHWC. The result is run against the original on random input before it is returned.

    Args:
        model: a SavedModel folder, `.keras`, `.h5` or frozen `.pb` file, a checkpoint with its `.meta`, a Keras model
            or a `tf.function`.
        inputs, outputs: tensor names, for graphs without a signature.
        progress: told about each pass.

    Returns:
        The float model: same signatures, same names, outputs equal to 1e-4 of the largest.

    Raises:
        ModelError: the model cannot be read, or a pass changed what it computes.
    """
    tell = progress or (lambda *_: None)
    tell("read", 0, None)
    original = read_model(model, inputs=inputs, outputs=outputs)
    context = Context(evaluate, infer, is_stateful)
    result = original
    for done, apply in enumerate(EXPORT):
        tell("export", done, len(EXPORT))
        result = apply(result, context)
    tell("export", len(EXPORT), len(EXPORT))
    _prove(original, result)
    return result


def _prove(original: Model, exported: Model) -> None:
    """Runs both on random input, for each signature."""
    for name, signature in original.signatures.items():
        feeds = _accepted_feeds(original, name)
        if feeds is None:
            continue
        expected = _outputs(original, name, feeds)
        renamed = {
            exported.signatures[name].inputs[key].ref: feeds[spec.ref] for key, spec in signature.inputs.items()
        }
        actual = _outputs(exported, name, renamed)
        for key, value in expected.items():
            difference = largest_difference(value, actual[key])
            if difference > _TOLERANCE:
                raise ModelError(
                    f"export changed output {key!r} of signature {name!r} by {difference:.2g} of its largest value, "
                    f"expected at most {_TOLERANCE}; this is a fault of eightfold, please report it"
                )


def _accepted_feeds(model: Model, name: str) -> Mapping[Ref, Array] | None:
    """Random input that the original runs on; `None` when no guess of its free dimensions fits."""
    with Runner.of(model) as run:
        fetches = [spec.ref for spec in model.signatures[name].outputs.values()]
        for guess in range(GUESSES):
            feeds = random_feeds(model.signatures[name], guess=guess)
            try:
                run(fetches, feeds)
            except (tf.errors.OpError, ValueError):
                continue
            return feeds
    return None


def _outputs(model: Model, name: str, feeds: Mapping[Ref, Array]) -> dict[str, Array]:
    outputs = model.signatures[name].outputs
    with Runner.of(model) as run:
        return dict(zip(outputs, run([spec.ref for spec in outputs.values()], feeds), strict=True))


def largest_difference(expected: Array, actual: Array) -> float:
    """The largest absolute difference, relative to the largest expected value; infinite where shapes differ."""
    if expected.shape != actual.shape:
        return float("inf")
    if expected.dtype.kind not in "fc" or not expected.size:
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    both = np.isfinite(expected) & np.isfinite(actual)
    if not np.array_equal(np.isfinite(expected), np.isfinite(actual)):
        return float("inf")
    scale = np.abs(expected[both]).max(initial=0.0) or 1.0
    return float(np.abs(expected[both] - actual[both]).max(initial=0.0) / scale)
