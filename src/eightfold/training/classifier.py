"""The network that is to be trained: a classifier of pictures that takes pixels as they are.

    model = classifier("resnet50", side=160, classes=3)                  # a network of keras.applications
    model = classifier("mynets:small", side=128, classes=3)              # a function of the user's own

What brings pixels to the values that a network wants is part of the model, so that whoever uses it later needs not
know of it, and 8-bit models fold it into their first convolution.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from eightfold.bench.named import SIDE, Architecture, build, named, side_of, unknown
from eightfold.data.imported import imported, names_function
from eightfold.data.preprocess import CAFFE_MEAN_BGR, TORCH_MEAN, TORCH_STD
from eightfold.errors import DataError, ModelError
from eightfold.tf.keras import load_keras_file
from eightfold.tf.reasons import reason
from eightfold.training.layers import checked

__all__ = ["IMAGENET", "SCRATCH", "checked_classifier", "classifier", "default_side"]

SCRATCH, IMAGENET = "scratch", "imagenet"


def default_side(model: Any) -> int:
    """Height and width of the pictures that a network is made for, in pixels."""
    if isinstance(model, keras.Model):
        shape = tuple(model.inputs[0].shape) if getattr(model, "inputs", None) else ()
        return int(shape[1]) if len(shape) == 4 and shape[1] else SIDE
    return side_of(model) if isinstance(model, str) else SIDE


def classifier(
    source: Any, *, side: int, classes: int, weights: str = SCRATCH, channels: int = 3, seed: int = 0
) -> Any:
    """A Keras model of float32 pixels 0..255, shape (batch, side, side, channels), to one score for each class.

    Args:
        source: the name of a network of keras.applications; `module:function`, a function that takes
            `input_shape=(side, side, channels)` and `classes=` and returns such a model; a `.keras` file; or a model.
        side: height and width of the pictures.
        classes: how many there are.
        weights: `scratch`; `imagenet`, Keras's trained weights below a new last layer; or a file of weights. For a
            function, a file or a model: `scratch` leaves what it holds.
        channels: of the pictures.
        seed: what weights are drawn from, and all that is drawn after them.

    Raises:
        ModelError: there is no such network, it does not fit, or the weights cannot be loaded.
    """
    if isinstance(source, keras.Model):
        return checked_classifier(source, side, classes, channels)
    keras.utils.set_random_seed(seed)
    path = Path(source)
    if path.suffix in (".keras", ".h5"):
        if not path.is_file():
            raise ModelError(f"there is no model at {path}; expected a .keras file, or a network's name")
        return _with_weights(checked_classifier(load_keras_file(path), side, classes, channels), weights)
    if names_function(source):
        made = _own(source, (side, side, channels), classes)
        return _with_weights(checked_classifier(made, side, classes, channels), weights)
    architecture = named(source)
    if architecture is None:
        raise unknown(source)
    return _application(architecture, (side, side, channels), classes, weights, seed)


def checked_classifier(model: Any, side: int, classes: int, channels: int = 3) -> Any:
    """The model, if it takes such pictures and gives one score for each class.

    Raises:
        ModelError: it does not; with the shapes expected and found.
    """
    checked(model)
    if not getattr(model, "inputs", None):
        raise ModelError(f"{model.name!r} does not say what it takes; expected a model made with keras.Input")
    inputs, outputs = ([tuple(one.shape) for one in those] for those in (model.inputs, model.outputs))
    if len(inputs) != 1 or not _fits(inputs[0], (None, side, side, channels)):
        raise ModelError(
            f"{model.name!r} takes {_listed(inputs)}; expected one input of pictures "
            f"(batch, {side}, {side}, {channels}): give its --image-size"
        )
    if len(outputs) != 1 or outputs[0][1:] != (classes,):
        raise ModelError(
            f"{model.name!r} gives {_listed(outputs)}; expected one output of scores (batch, {classes}): "
            "one for each class of the data"
        )
    if not model.trainable_variables:
        raise ModelError(f"{model.name!r} has no weights that can be trained")
    return model


def _application(architecture: Architecture, shape: tuple[int, int, int], classes: int, weights: str, seed: int) -> Any:
    """A network of keras.applications without its last layer, with a new one for these classes."""
    pixels = keras.Input(shape, name="image")
    features = _body(architecture, shape, weights, seed)(_preprocessed(pixels, architecture.preprocess))
    scores = keras.layers.Dense(classes, name="scores")(features)
    model = keras.Model(pixels, keras.layers.Softmax(dtype="float32", name="classes")(scores), name=architecture.name)
    return model if weights == IMAGENET else _with_weights(model, weights)


def _body(architecture: Architecture, shape: tuple[int, int, int], weights: str, seed: int) -> Any:
    options = {"input_shape": shape, "include_top": False, "pooling": "avg"}
    try:
        with warnings.catch_warnings():
            if weights != IMAGENET:  # for which size Keras would load weights is of no interest then
                warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
            return build(architecture, seed=seed, **options, weights=IMAGENET if weights == IMAGENET else None)
    except ValueError as error:  # too small, for example
        raise ModelError(f"{architecture.keras} cannot be made for pictures {shape}: {reason(error)}") from error
    except Exception as error:  # Keras raises the base class where a download fails
        if weights != IMAGENET:
            raise
        raise ModelError(
            f"the ImageNet weights of {architecture.keras} cannot be had: {reason(error)}; expected a connection, or "
            f"the weights in Keras's cache: train from {SCRATCH}, or give a file of weights"
        ) from error


def _preprocessed(pixels: Any, how: str) -> Any:
    """Pixels 0..255 as a network wants them; see `eightfold.data.preprocess`, which says the same in NumPy."""
    if how == "tf":
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="pixels")(pixels)
    if how == "torch":
        scale, offset = 1 / (255 * TORCH_STD), -TORCH_MEAN / TORCH_STD
        return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="pixels")(pixels)
    if how == "caffe":
        return keras.layers.Rescaling(1.0, (-CAFFE_MEAN_BGR).tolist(), name="pixels")(pixels[..., ::-1])
    return pixels


def _own(source: str, shape: tuple[int, int, int], classes: int) -> Any:
    """What a function of the user's own makes."""
    try:
        function = imported(source)
    except DataError as error:
        raise ModelError(str(error)) from error
    model = function(input_shape=shape, classes=classes)
    if not isinstance(model, keras.Model):
        raise ModelError(f"{source} gave a {type(model).__name__}; expected a Keras 3 model")
    return model


def _with_weights(model: Any, weights: str) -> Any:
    if weights == SCRATCH:
        return model
    if weights == IMAGENET:
        raise ModelError("imagenet weights are for networks of keras.applications; give a file of weights")
    if not Path(weights).is_file():
        raise ModelError(
            f"there are no weights at {weights}; expected scratch, imagenet, or a .weights.h5 or .keras file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of what it then raises
            if weights.endswith(".keras"):
                model.set_weights(load_keras_file(Path(weights)).get_weights())
            else:
                model.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"the weights {weights} do not fit {model.name!r}: {reason(error)}") from error
    return model


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether a shape admits what is wanted: open sizes admit any."""
    return len(shape) == len(wanted) and all(have in (None, want) for have, want in zip(shape, wanted, strict=True))


def _listed(shapes: list[tuple[int | None, ...]]) -> str:
    return ", ".join(str(shape) for shape in shapes)
