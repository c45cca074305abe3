"""Makes a Keras model train and run faster, and computes what it computed before.

    model = ef.accelerate(model)
    print(model.acceleration)
    model.compile(...)
    model.fit(...)
    model.save("mine.keras")       # an ordinary file: Keras alone loads it

The model is changed in place, so that its optimizer, its callbacks and every reference to its layers stay what they
are. Nothing is changed for other models (ADR 13).
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from eightfold.errors import DataError, PlatformError, RecipeError
from eightfold.running.notices import notify
from eightfold.system.instructions import has_bfloat16
from eightfold.system.onednn import too_late
from eightfold.training import batch_norm
from eightfold.training.acceleration import Acceleration, Left
from eightfold.training.layers import batch_norms, checked, names
from eightfold.training.precision import Precision, Switched, compiled_again, precision_of, switch
from eightfold.training.trial import Trial, example_inputs, trial

__all__ = ["accelerate", "decelerate"]

Choice = Literal["auto", "fp32", "bf16"]
Model = TypeVar("Model")

GAIN = 1.05
"""How much faster bfloat16 must be in the trial. Less than that is not worth its digits."""


def accelerate(model: Model, precision: Choice = "auto", *, batch: Any = None, batch_size: int = 32) -> Model:
    """Fuses a model's batch normalizations, and lets it compute in the precision that it trains fastest in.

    Call it again after layers were added, unfrozen or taken from another model. Functions of your own that have called
    the model inside of `tf.function` keep what they have traced.

    Args:
        model: of Keras 3 on TensorFlow, with its weights; functional, sequential or a class of its own.
        precision: `bf16` (the policy mixed_bfloat16: weights stay float32), `fp32`, or `auto`: bfloat16 where the CPU
            has it and a few timed steps of training are at least 5 % faster in it. These steps leave no trace in the
            model or in generators of random numbers.
        batch: one batch for these steps, as `fit` takes it: inputs, or inputs with labels. By default random numbers
            in the shape of the inputs.
        batch_size: of the random batch.

    Returns:
        The same model; what was done is its attribute `acceleration`, an `Acceleration`.

    Raises:
        ModelError: it is no Keras 3 model, or has no weights yet.
        PlatformError: Keras runs on another engine than TensorFlow, or bf16 is asked for and the CPU has none.
        RecipeError: there is no such precision.

    Warns:
        SettingsWarning: TensorFlow was imported without oneDNN, as it is by default on CPUs without VNNI.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise RecipeError(f"there is no precision {precision!r}; expected one of auto, fp32, bf16")
    checked(model)
    notify(too_late())
    if precision == "bf16" and not has_bfloat16():
        raise PlatformError(
            "this CPU does not multiply bfloat16 numbers, so that bf16 would be slower than float32; expected "
            "avx512_bf16 or amx_bf16 among its flags: use precision='auto' or 'fp32'"
        )
    fused, unfused = _fused(model)
    choice, why, tried = _chosen(model, batch, batch_size) if precision == "auto" else (precision, "as asked for", None)
    switched = Switched((), ()) if choice is None else switch(model, choice)
    compiled_again(model)
    model.acceleration = Acceleration(  # type: ignore[attr-defined]
        fused=fused,
        unfused=unfused,
        precision=precision_of(model),
        why=why,
        switched=names([layer for layer, _ in switched.layers]),
        float32=tuple(Left(names([layer])[0], reason) for layer, reason in switched.left),
        trial=tried,
    )
    return model


def decelerate(model: Model) -> Model:
    """Gives the batch normalizations of a model back to Keras; the precision stays.

    Raises:
        ModelError: it is no Keras 3 model.
    """
    checked(model)
    for layer in batch_norms(model):
        batch_norm.unfuse(layer)
    compiled_again(model)
    if hasattr(model, "acceleration"):
        del model.acceleration
    return model


def _fused(model: Any) -> tuple[tuple[str, ...], tuple[Left, ...]]:
    fused, left = [], []
    for layer in batch_norms(model):
        reason = batch_norm.refusal(layer)
        if reason is None:
            batch_norm.fuse(layer)
            fused.append(layer)
        else:
            left.append(Left(names([layer])[0], reason))
    return names(fused), tuple(left)


def _chosen(model: Any, batch: Any, batch_size: int) -> tuple[Precision | None, str, Trial | None]:
    """The precision (None: leave it), why, and the trial."""
    if not has_bfloat16():
        return "fp32", "this CPU does not multiply bfloat16 numbers", None
    if not model.trainable_variables:
        return None, "it has no weights to train, so nothing was timed", None
    try:
        inputs = example_inputs(model, batch_size) if batch is None else _inputs(batch)
    except DataError as error:
        return None, f"nothing was timed: {error}", None
    try:
        tried = trial(model, inputs)
    except PlatformError as error:
        return "fp32", str(error), None
    wins = tried.speedup >= GAIN
    return (
        "bf16" if wins else "fp32",
        f"a step in bfloat16 takes {tried.bf16 * 1e3:.0f} ms, in float32 {tried.fp32 * 1e3:.0f} ms "
        f"({tried.speedup:.2f}x, median of {tried.rounds} rounds, batch {tried.batch_size})",
        tried,
    )


def _inputs(batch: Any) -> Any:
    import keras

    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return inputs
