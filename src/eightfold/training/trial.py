"""A few steps of training in float32 and in bfloat16, timed in turns, that leave the model as it was."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eightfold.bench.protocol import Refusal
from eightfold.bench.synthetic import synthetic
from eightfold.errors import DataError, PlatformError
from eightfold.tf.reasons import reason
from eightfold.training.layers import accepts_training
from eightfold.training.precision import Precision, switch

__all__ = ["Trial", "example_inputs", "trial"]

ROUNDS = 5
SECONDS = 10.0
"""After this long no further round begins, but each precision is timed twice."""
RATE = 1e-6
"""Of the gradient descent; not 0, for which TensorFlow would leave the product out."""


@dataclass(frozen=True)
class Trial:
    """How long one step took.

    Attributes:
        batch_size: of each step.
        fp32: seconds, the median over the rounds.
        bf16: likewise.
        speedup: of bfloat16 over float32; the ratio is formed in each round, this is the median.
        rounds: how many steps of each were timed.
    """

    batch_size: int
    fp32: float
    bf16: float
    speedup: float
    rounds: int


def trial(model: Any, inputs: Any, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> Trial:
    """Times steps of both precisions in turns: forward, mean square of the outputs, backward, gradient descent.

    Whatever variable the steps change has its value back afterwards, after an error or Ctrl-C too: weights, batch-norm
    statistics, states of random generators. So have the generators of Python and NumPy, and the layers their policies.

    Args:
        model: a built Keras model with weights to train.
        inputs: one batch as the model is called with; arrays or tensors.
        rounds: how many at most, at least 2.
        seconds: see `SECONDS`.

    Raises:
        PlatformError: the model trains in float32, but not in bfloat16, which not every op of TensorFlow knows.
    """
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    with _python_generators():
        fp32 = _traced(model, inputs, "fp32")
        with _failing_in_bfloat16():
            bf16 = _traced(model, inputs, "bf16")
        with _restored([*fp32.graph.variables, *bf16.graph.variables]):
            float(fp32(inputs))  # warms up
            with _failing_in_bfloat16():
                float(bf16(inputs))
            times = _times([partial(fp32, inputs), partial(bf16, inputs)], rounds, seconds)
    return Trial(
        batch_size=int(tf.nest.flatten(inputs)[0].shape[0]),
        fp32=statistics.median(full for full, _ in times),
        bf16=statistics.median(half for _, half in times),
        speedup=statistics.median(full / half for full, half in times),
        rounds=len(times),
    )


def example_inputs(model: Any, batch_size: int) -> Any:
    """Random input for a model whose inputs are known, in the structure that it is called with.

    Raises:
        DataError: the inputs are not known, leave more open than the batch, or are of a type that cannot be made up.
    """
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise DataError("its inputs are not known, as of a class with a call of its own; expected a batch")
    structure = tensors[0] if isinstance(model, keras.Sequential) else model.input
    shapes = {str(at): ([*one.shape], one.dtype) for at, one in enumerate(tensors)}
    for one in tensors:
        if None in one.shape[1:]:
            raise DataError(f"its input {one.name!r} of shape {tuple(one.shape)} leaves sizes open; expected a batch")
    try:
        made = synthetic(shapes, batch_size)
    except Refusal as refusal:
        raise DataError(f"{refusal}; expected a batch") from refusal
    return tf.nest.pack_sequence_as(structure, list(made.values()))


def _traced(model: Any, inputs: Any, precision: Precision) -> Any:
    """One step as a compiled function for inputs like these; nothing runs yet."""
    options = {"training": True} if accepts_training(model) else {}

    def step(inputs: Any) -> Any:
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = [tf.cast(one, tf.float32) for one in tf.nest.flatten(model(inputs, **options))]
            loss = tf.add_n([*(tf.reduce_mean(tf.square(one)) for one in outputs), *model.losses])
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            if gradient is not None:
                _descend(variable, gradient)
        return loss

    switched = switch(model, precision)
    try:
        return tf.function(step, autograph=False).get_concrete_function(inputs)
    finally:
        switched.undo()


def _descend(variable: Any, gradient: Any) -> None:
    if isinstance(gradient, tf.IndexedSlices):  # an embedding: only the rows that were looked up
        variable.value.scatter_sub(tf.IndexedSlices(gradient.values * RATE, gradient.indices))
    else:
        variable.assign_sub(tf.cast(gradient, variable.dtype) * RATE)


def _times(steps: list[Callable[[], Any]], rounds: int, seconds: float) -> list[list[float]]:
    """The seconds of each step, round by round; the order changes with the rounds."""
    began, times = time.perf_counter(), []
    for number in range(rounds):
        if number >= 2 and time.perf_counter() - began > seconds:
            break
        turn = [0.0] * len(steps)
        for at in range(len(steps))[:: 1 if number % 2 == 0 else -1]:
            start = time.perf_counter()
            float(steps[at]())  # waits for it
            turn[at] = time.perf_counter() - start
        times.append(turn)
    return times


@contextmanager
def _failing_in_bfloat16() -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, TypeError, ValueError) as error:  # at run time; while tracing
        raise PlatformError(f"a step in bfloat16 fails: {reason(error)}") from error


@contextmanager
def _restored(variables: list[Any]) -> Iterator[None]:
    """Variables of TensorFlow have the values afterwards that they have now."""
    values = [(variable, variable.read_value()) for variable in {id(one): one for one in variables}.values()]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)


@contextmanager
def _python_generators() -> Iterator[None]:
    """Keras draws seeds from Python's generator, and layers of users from NumPy's."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
