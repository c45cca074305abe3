"""Small nets with batch norms, one of each kind that Keras knows, and data for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

CLASSES = 3
SHAPE = (8, 8, 3)


def data(examples: int = 64, seed: int = 0) -> tuple[Any, Any]:
    """Pictures whose class shows in one color channel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, examples)
    pictures = rng.normal(size=(examples, *SHAPE)).astype("float32")
    pictures[np.arange(examples), :, :, labels] += 1.5
    return pictures, labels


def block(channels: int) -> list[Any]:
    return [
        keras.layers.Conv2D(channels, 3, use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
    ]


def head() -> list[Any]:
    return [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES, activation="softmax")]


def sequential() -> Any:
    return keras.Sequential([keras.Input(SHAPE), *block(16), *block(8), *head()], name="chain")


def functional() -> Any:
    inputs = keras.Input(SHAPE)
    whole = inputs
    for layer in block(16):
        whole = layer(whole)
    aside = keras.layers.Conv2D(16, 3, padding="same")(whole)
    whole = keras.layers.Add()([whole, keras.layers.BatchNormalization(scale=False)(aside)])
    for layer in head():
        whole = layer(whole)
    return keras.Model(inputs, whole, name="graph")


def nested() -> Any:
    backbone = keras.Sequential([keras.Input(SHAPE), *block(16)], name="backbone")
    inputs = keras.Input(SHAPE)
    outputs = backbone(inputs)
    for layer in head():
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="nested")


@keras.saving.register_keras_serializable("tests")
class Own(keras.Model):
    """A model with a call of its own, and a batch norm inside of a layer of a list."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = [keras.Sequential(block(16)), *head()]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for part in self.parts:
            inputs = part(inputs, training=training) if isinstance(part, keras.Sequential) else part(inputs)
        return inputs


def own() -> Any:
    model = Own(name="own")
    model(np.zeros((1, *SHAPE), "float32"))
    return model


NETS = {"sequential": sequential, "functional": functional, "nested": nested, "own": own}


def made(kind: str) -> Any:
    """A net with the same weights each time."""
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    return NETS[kind]()


def compiled(model: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
