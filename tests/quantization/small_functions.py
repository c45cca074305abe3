"""Functions with one convolution, and what to feed them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from eightfold.graph.ir import Array

__all__ = ["LENIENT", "convolution", "images", "two_convolutions", "weights"]

import eightfold as ef

LENIENT = ef.Recipe(fallback=False)
"""Nothing this small is faster in 8 bits; it is quantized all the same."""


def weights(*shape: int, seed: int = 0) -> Array:
    """Normal numbers of unit gain, float32."""
    fan_in = int(np.prod(shape[:-1]))
    return (np.random.default_rng(seed).normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def images(count: int, side: int = 8, seed: int = 0) -> Array:
    """Uniform numbers from -1 to 1, float32 [count, side, side, 3]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def convolution(batch: int | None = None, filters: int = 8) -> Any:
    """A `tf.function` of one 3x3 convolution with a Relu: x -> y."""
    kernel, bias = weights(3, 3, 3, filters), np.linspace(-0.1, 0.1, filters, dtype=np.float32)
    spec = tf.TensorSpec((batch, None, None, 3), tf.float32, "x")
    return tf.function(
        lambda x: {"y": tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))},
        input_signature=[spec],
    )


def two_convolutions() -> Any:
    """A `tf.function` of two 3x3 convolutions, each with bias and Relu, named `a` and `b`: x -> y."""
    first, second = weights(3, 3, 3, 8), weights(3, 3, 8, 8, seed=1)
    bias = np.linspace(-0.1, 0.1, 8, dtype=np.float32)

    def layer(x: Any, kernel: Array, name: str) -> Any:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias), name=name)

    return tf.function(
        lambda x: {"y": layer(layer(x, first, "a"), second, "b")},
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, "x")],
    )
