"""Step 1: any TensorFlow or Keras model as a float graph that is frozen, folded and proven equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model, Signature
from eightfold.passes.context import Context
from eightfold.passes.pipeline import EXPORT
from eightfold.tf.inline import is_stateful
from eightfold.tf.read import read_model
from eightfold.tf.samples import GUESSES, random_feeds
from eightfold.tf.session import Runner, evaluate, infer

__all__ = ["Progress", "export", "largest_difference"]

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with the name of a stage, the work done in it and, where known, its total."""

_LEEWAY = 10
"""How many times an output may change what it moves by itself; folding rounds in every layer, a nudge only once."""

_NO_INPUT = "it ran on no random input that was tried"

_TOLERANCE = 1e-4
"""Relative to the largest output. Folding reorders float32 products: a few units in the last place for each layer."""

_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2, "int32": 1e-3, "int64": 1e-3, "bool": 1e-3}
"""Of outputs in a shorter format; and the share of classes that a near tie may turn, in a map of them."""

_WEIGHTED = {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "BatchMatMulV2", "BiasAdd"}
_AFFINE = {"Mul", "AddV2", "Add", "Sub"}


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
        ModelError: the model cannot be read, has NaN or Inf in its weights, or a pass changed what it computes.
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
    _refuse_nan(result)
    unproven = _prove(original, result)
    notes = tuple(f"signature {name!r} was not compared with the original: {_NO_INPUT}" for name in unproven)
    return result.but(notes=notes)


def _refuse_nan(model: Model) -> None:
    """Broken weights are an error of the model; masks of attention, which may hold -Inf, are not."""
    for node in model.graph:
        if node.op not in _WEIGHTED and node.op not in _AFFINE:
            continue
        for ref in node.inputs:
            value = model.graph.constant(ref)
            if value is None or value.dtype.kind != "f":
                continue
            if np.isnan(value).any() or (node.op in _WEIGHTED and np.isinf(value).any()):
                bad = "NaN" if np.isnan(value).any() else "Inf"
                raise ModelError(
                    f"the weights of {node.name!r} ({node.op}) hold {bad} in tensor {str(ref)!r}; "
                    "expected finite numbers: restore the model from a sound checkpoint"
                )


def _prove(original: Model, exported: Model) -> list[str]:
    """Runs both on random input, for each signature; one after the other, since each holds all weights.

    Returns the signatures for which no input was found that the original runs on.
    """
    with Runner.of(original, optimize=False) as run:
        accepted = {name: _accepted(run, signature) for name, signature in original.signatures.items()}
    with Runner.of(exported, optimize=False) as run:
        for name, found in accepted.items():
            if found is not None:
                _prove_signature(original, exported, name, *found, run)
    return [name for name, found in accepted.items() if found is None]


def _prove_signature(
    original: Model, exported: Model, name: str, feeds: Mapping[Ref, Array], expected: list[Array], run: Runner
) -> None:
    """Raises `ModelError` where an output changed by more than it moves by itself."""
    before, after = original.signatures[name], exported.signatures[name]
    moved = {after.inputs[key].ref: feeds[spec.ref] for key, spec in before.inputs.items()}
    actual = run([spec.ref for spec in after.outputs.values()], moved)
    for (key, spec), old, new in zip(before.outputs.items(), expected, actual, strict=True):
        difference = largest_difference(old, new)
        if difference <= _TOLERANCES.get(old.dtype.name, _TOLERANCE):
            continue
        if old.shape == new.shape and difference <= _LEEWAY * _restlessness(original, spec.ref, feeds, old):
            continue
        raise ModelError(
            f"export changed output {key!r} of signature {name!r} by {difference:.2g} of its largest value, "
            f"expected at most {_TOLERANCE}; this is a fault of eightfold, please report it"
        )


def _restlessness(original: Model, output: Ref, feeds: Mapping[Ref, Array], seen: Array) -> float:
    """How much an output of the original moves by itself: run again, as random numbers make it, and with its input
    moved by 1e-6, as rounding does in a net that is ill-conditioned far from its data."""
    nudged = {ref: value * np.float32(1 + 1e-6) if value.dtype == np.float32 else value for ref, value in feeds.items()}
    with Runner.of(original, optimize=False) as run:
        return max(largest_difference(seen, run([output], given)[0]) for given in (feeds, nudged))


def _accepted(run: Runner, signature: Signature) -> tuple[Mapping[Ref, Array], list[Array]] | None:
    """Random input that the model runs on, and its outputs; `None` when no guess of the free dimensions fits."""
    fetches = [spec.ref for spec in signature.outputs.values()]
    for guess in range(GUESSES):
        feeds = random_feeds(signature, guess=guess)
        try:
            return feeds, run(fetches, feeds)
        except (tf.errors.OpError, ValueError):
            continue
    return None


def largest_difference(expected: Array, actual: Array) -> float:
    """The largest absolute difference, relative to the largest expected value; infinite where shapes differ.

    Of whole numbers and strings, which are equal or not, it is the share that differs.
    """
    if expected.shape != actual.shape:
        return float("inf")
    if expected.dtype.kind == "V":  # bfloat16
        expected, actual = expected.astype(np.float32), actual.astype(np.float32)
    if expected.dtype.kind not in "fc" or not expected.size:
        return float(np.mean(expected != actual)) if expected.size else 0.0
    both = np.isfinite(expected) & np.isfinite(actual)
    if not np.array_equal(np.isfinite(expected), np.isfinite(actual)):
        return float("inf")
    scale = np.abs(expected[both]).max(initial=0.0) or 1.0
    return float(np.abs(expected[both] - actual[both]).max(initial=0.0) / scale)
