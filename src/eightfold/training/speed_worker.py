"""The process that trains one Keras model while a suite measures it: `python -m eightfold.training.speed_worker`.

    --how auto|fp32|bf16    a step as `eightfold train` makes it: fused batch norms, this precision, its recipe
    --how stock             a step of Keras's own layers as tf_cnn_benchmarks takes it by default: forward,
                            cross-entropy over the classes, backward, gradient descent with momentum 0.9
    --image-size N          of networks that are made here

Each step is one compiled function. The batches lie in TensorFlow's memory before the first step, so that no input
pipeline is timed.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from eightfold.bench.named import side_of
from eightfold.bench.protocol import Figures, Job, Refusal, Run, Told, serve
from eightfold.bench.steps import IMAGENET
from eightfold.bench.synthetic import synthetic
from eightfold.data import Batch, InputSpec
from eightfold.data import load as load_data
from eightfold.errors import EightfoldError
from eightfold.graph.ir import Array
from eightfold.training.speed import SUFFIXES, How

__all__ = ["load", "main", "our_step", "train_step"]

LEARNING_RATE, MOMENTUM = 0.01, 0.9
BATCHES = 8
"""How many batches of given data are held in memory, to be used in turn."""
CLASSES = 1000
"""Of networks that are made here: as many as ImageNet has."""

Arrays = tuple[list[Array], Array]
"""One batch: an array for each input, and a class number for each example."""
Step: TypeAlias = Callable[[list[Any], Any], Any]
"""Changes the weights once, from a list of inputs and labels, and gives the loss before."""


def main() -> None:
    """Serves the suite until its end of the pipe is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", choices=get_args(How), default="auto")
    parser.add_argument("--image-size", type=int)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    serve(partial(load, how=options.how, side=options.image_size))


def load(job: Job, how: How = "auto", side: int | None = None) -> tuple[Run, Mapping[str, str]]:
    """Makes the network of that name or function, or loads a `.keras` or `.h5` file; a run is a step, and gives its
    loss.

    Args:
        job: what to train with.
        how: as `eightfold train` does it, in this precision; or `stock`.
        side: height and width of the pictures of a network that is made; by default as its name says.

    Raises:
        Refusal: the model cannot be read or trained, or the data does not fit it.
    """
    import keras
    import tensorflow as tf

    _configure(job)
    try:
        model = _model(job.model, side)
        batches = [_on_device(*batch) for batch in _batches(model, job)]
        if how == "stock":
            step, about = train_step(model), {"optimizer": "momentum", "batch norms": "as Keras has them"}
        else:
            step, about = our_step(model, how, batches[0])
    except EightfoldError as error:
        raise Refusal(str(error)) from error
    order = itertools.cycle(batches)
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    return Told(lambda: Figures(loss=float(step(*next(order)))), about), versions


def our_step(
    model: Any, precision: Literal["auto", "fp32", "bf16"], batch: tuple[list[Any], Any]
) -> tuple[Step, dict[str, str]]:
    """A step as `eightfold train` makes it, and what there is to say of it, by name.

    Args:
        model: it is accelerated, in place.
        precision: see `eightfold.training.accelerate.accelerate`.
        batch: of the size that is trained with, for the trial of precisions.

    Raises:
        PlatformError: bf16 is asked for, and the CPU has none.
        Refusal: the model has no weights that can be trained.
    """
    import tensorflow as tf

    from eightfold.training.accelerate import accelerate
    from eightfold.training.optimizers import optimizer_of
    from eightfold.training.recipe import recipe_for
    from eightfold.training.step import Steps

    _expect_weights(model)
    structure, (inputs, labels) = _structure(model), batch
    accelerate(model, precision, batch=(tf.nest.pack_sequence_as(structure, inputs), labels))
    recipe = recipe_for(len(labels), IMAGENET, 1)
    specs = [tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in inputs]
    steps = Steps(model, optimizer_of(recipe, model), inputs=tf.nest.pack_sequence_as(structure, specs))
    done = model.acceleration
    about = {
        "optimizer": recipe.optimizer,
        "precision": f"{done.precision}; {done.why}",
        "batch norms": f"{len(done.fused)} of {len(done.fused) + len(done.unfused)} fused",
    }
    return lambda inputs, labels: steps.train(tf.nest.pack_sequence_as(structure, inputs), labels).loss, about


def train_step(model: Any) -> Step:
    """A step of gradient descent with momentum on the model as it is, compiled.

    The loss is the mean cross-entropy of the scores, taken before a final softmax, plus what layers add by themselves.

    Raises:
        Refusal: the model has no weights that can be trained.
    """
    import keras
    import tensorflow as tf

    _expect_weights(model)
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    optimizer.build(model.trainable_variables)
    structure = _structure(model)

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

    return cast(Step, step)


def _expect_weights(model: Any) -> None:
    if not model.trainable_variables:
        raise Refusal(f"{model.name} has no weights that can be trained")


def _structure(model: Any) -> Any:
    """What a model is called with: one tensor, or a list or dict of them."""
    import keras

    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _configure(job: Job) -> None:
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if job.intra is not None:
        tf.config.threading.set_intra_op_parallelism_threads(job.intra)
    if job.inter is not None:
        tf.config.threading.set_inter_op_parallelism_threads(job.inter)
    if job.bfloat16:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def _model(model: str, side: int | None) -> Any:
    """The Keras model.

    Raises:
        Refusal: it is one of tf_keras, or does not give one table of scores.
        EightfoldError: there is no such network, or the file cannot be read.
    """
    import keras

    from eightfold.tf.keras import load_keras_file
    from eightfold.training.classifier import classifier

    if Path(model).suffix in SUFFIXES:
        made = load_keras_file(Path(model))
    else:
        made = classifier(model, side=side or side_of(model), classes=CLASSES)
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
