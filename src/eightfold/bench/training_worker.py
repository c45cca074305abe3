"""The process that trains one Keras model while a suite measures it: `python -m eightfold.bench.training_worker`.

A run is one step as tf_cnn_benchmarks takes it by default: forward, cross-entropy over the classes, backward, and
stochastic gradient descent with momentum 0.9, all in one compiled function. The batches lie in TensorFlow's memory
before the first step, so that no input pipeline is timed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.bench.named import build, named, unknown
from eightfold.bench.protocol import Figures, Job, Refusal, Run, serve
from eightfold.bench.synthetic import synthetic
from eightfold.data import Batch, InputSpec
from eightfold.data import load as load_data
from eightfold.errors import EightfoldError
from eightfold.graph.ir import Array

__all__ = ["load", "main"]

LEARNING_RATE, MOMENTUM = 0.01, 0.9
BATCHES = 8
"""How many batches of given data are held in memory, to be used in turn."""

Arrays = tuple[list[Array], Array]
"""One batch: an array for each input, and a class number for each example."""


def main() -> None:
    """Serves the suite until its end of the pipe is closed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    serve(load)


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Makes the network of that name, or loads a `.keras` or `.h5` file; a run is a step, and gives its loss.

    Raises:
        Refusal: the model cannot be read or trained, or the data does not fit it.
    """
    import keras
    import tensorflow as tf

    _configure(job)
    try:
        model = _model(job.model)
        batches = [_on_device(*batch) for batch in _batches(model, job)]
    except EightfoldError as error:
        raise Refusal(str(error)) from error
    step, order = train_step(model), itertools.cycle(batches)
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    return lambda: Figures(loss=float(step(*next(order)))), versions


def train_step(model: Any) -> Callable[[list[Any], Any], Any]:
    """A compiled function of a list of inputs and of labels that changes the weights once and gives the loss before.

    The loss is the mean cross-entropy of the scores, taken before a final softmax, plus what layers add by themselves.

    Raises:
        Refusal: the model has no weights that can be trained.
    """
    import keras
    import tensorflow as tf

    if not model.trainable_variables:
        raise Refusal(f"{model.name} has no weights that can be trained")
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    optimizer.build(model.trainable_variables)
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    # Autograph would leave a file behind in the folder for temporary files where the process is killed.
    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(inputs: list[Any], labels: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = model(tf.nest.pack_sequence_as(structure, inputs), training=True)
            logits = scores.op.inputs[0] if scores.op.type == "Softmax" else scores
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.add_n([tf.reduce_mean(losses), *model.losses])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step  # type: ignore[no-any-return]


def _configure(job: Job) -> None:
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if job.intra is not None:
        tf.config.threading.set_intra_op_parallelism_threads(job.intra)
    if job.inter is not None:
        tf.config.threading.set_inter_op_parallelism_threads(job.inter)
    if job.bfloat16:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def _model(model: str) -> Any:
    """The Keras model.

    Raises:
        Refusal: it is one of tf_keras, or does not give one table of scores.
        EightfoldError: there is no such network, or the file cannot be read.
    """
    import keras

    if Path(model).suffix:
        from eightfold.tf.keras import load_keras_file

        made = load_keras_file(Path(model))
    else:
        architecture = named(model)
        if architecture is None:
            raise unknown(model)
        made = build(architecture)
    if not isinstance(made, keras.Model) or not getattr(made, "inputs", None):
        raise Refusal(f"{model} cannot be trained: expected a Keras 3 model whose inputs are known")
    shapes = [tuple(one.shape) for one in made.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] in (None, 1):
        found = ", ".join(map(str, shapes))
        raise Refusal(f"{model} cannot be trained: expected one output of scores (batch, classes), found {found}")
    return made


def _batches(model: Any, job: Job) -> list[Arrays]:
    """The batches to train with: one of random numbers, or the first `BATCHES` of the given data.

    Data of less than a batch is repeated; examples after the last full batch are left out.

    Raises:
        Refusal: the model is made for batches of another size, or the data has no labels that fit its classes.
        DataError: the data cannot be read, or does not fit the inputs.
    """
    classes = model.outputs[0].shape[-1]
    specs = {one.name: InputSpec(one.name, str(one.dtype), tuple(one.shape)) for one in model.inputs}
    if job.feeds is None:
        made = synthetic({one.name: (list(one.shape), str(one.dtype)) for one in model.inputs}, job.batch_size)
        return [(list(made.values()), np.random.default_rng(0).integers(0, classes, job.batch_size))]
    read = list(itertools.islice(load_data(job.feeds, inputs=specs, batch_size=job.batch_size), BATCHES))
    full = [one for one in read if one.size == job.batch_size] or [_repeated(read[0], job.batch_size)]
    return [([one.inputs[name] for name in specs], _labels(one, classes)) for one in full]


def _repeated(batch: Batch, size: int) -> Batch:
    def longer(array: Array) -> Array:
        return np.resize(array, (size, *array.shape[1:])) if array.ndim else array

    inputs = {name: longer(array) for name, array in batch.inputs.items()}
    return Batch(inputs, None if batch.labels is None else longer(batch.labels))


def _labels(batch: Batch, classes: int) -> Array:
    """The class numbers of a batch, checked: TensorFlow's kernel stops at one that is too large."""
    if batch.labels is None:
        raise Refusal("the data has no labels; training needs whole class numbers as `y`")
    labels = batch.labels.reshape(len(batch.labels)) if batch.labels.size == len(batch.labels) else batch.labels
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise Refusal(
            f"the labels are {labels.dtype} of shape {labels.shape}; expected one whole number for an example"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise Refusal(f"the model has the classes 0 to {classes - 1}, and the labels go from {low} to {high}")
    return labels


def _on_device(inputs: list[Array], labels: Array) -> tuple[list[Any], Any]:
    import tensorflow as tf

    return [tf.constant(one) for one in inputs], tf.constant(labels, tf.int32)


if __name__ == "__main__":
    main()
