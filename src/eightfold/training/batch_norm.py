"""Keras's batch normalization computed by one kernel: FusedBatchNormV3.

    fuse(layer)      # layer.call is replaced for this one object; its class, weights and config are Keras's own
    unfuse(layer)    # and is Keras's again

Keras 3 writes batch normalization as a dozen element-wise ops on the TensorFlow backend, and casts bfloat16 to float32
and back around them. The kernel does the same sums in one pass forward and one backward. What it computes is equal up
to the rounding of float32 (of bfloat16 in bfloat16); ADR 13 says how that is held.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

__all__ = ["Normalized", "fuse", "is_fused", "normalized", "refusal", "unfuse"]

KERNEL_DTYPES = ("float32", "bfloat16")
BLOCK = 16
"""oneDNN's kernels hold channels in blocks of 16; with another number the ones for bfloat16 fall back to slow loops."""


class Normalized(NamedTuple):
    """A tensor normalized with its own statistics.

    Attributes:
        output: shape and dtype of the input.
        mean: of each channel, float32.
        variance: of each channel, float32, divided by the number of elements (not that number less one).
    """

    output: Any
    mean: Any
    variance: Any


def refusal(layer: Any) -> str | None:
    """Why a built batch normalization cannot be fused, in words; None where it can."""
    if "call" in vars(layer) and not is_fused(layer):
        return "its call is replaced already"
    return _unfit(layer)


def _unfit(layer: Any) -> str | None:
    """Why the kernel cannot compute what Keras's class says, whatever now stands for its call."""
    if type(layer) is not keras.layers.BatchNormalization:
        return f"it is a {type(layer).__name__}, a class of its own that may compute something else"
    if layer.synchronized:
        return "synchronized=True: its statistics are taken over all workers, which the kernel cannot do"
    if getattr(layer, "renorm", False):
        return "renorm=True: the kernel has no batch renormalization"
    if layer.compute_dtype not in KERNEL_DTYPES:
        return f"it computes in {layer.compute_dtype}; the kernel is for {' and '.join(KERNEL_DTYPES)}"
    return _unfit_shape(layer)


def _unfit_shape(layer: Any) -> str | None:
    rank: int = layer.input_spec.ndim
    if rank == 2:
        return "its input has 2 dimensions: so little work that a kernel of its own costs more than it saves"
    if layer.axis % rank not in (1, rank - 1):
        return f"its channels are axis {layer.axis} of {rank}: the kernel takes them first or last"
    return None


def fuse(layer: Any) -> None:
    """Lets a layer compute by the kernel from its next call or trace on; `refusal` must have been asked before.

    Calls with a mask are computed by Keras: the kernel's statistics are those of all elements.
    """
    layer.call = MethodType(_call, layer)


def unfuse(layer: Any) -> None:
    """Undoes `fuse`."""
    if is_fused(layer):
        del layer.call


def is_fused(layer: Any) -> bool:
    """Whether a layer computes by the kernel."""
    return getattr(vars(layer).get("call"), "__func__", None) is _call


def normalized(layer: Any, inputs: Any) -> Normalized | None:
    """What a layer makes of a tensor in training; the moving statistics stay as they are. None: not by the kernel."""
    dtype = _dtype(layer, inputs, training=True) if _unfit(layer) is None else None
    return None if dtype is None else _normalized(layer, inputs, dtype)


def _normalized(layer: Any, inputs: Any, dtype: str) -> Normalized:
    output, mean, unbiased = _kernel(layer, inputs, dtype)
    elements = tf.cast(tf.size(inputs) / tf.size(mean), tf.float32)
    # The kernel divides by one less, for the moving average of Keras 2.
    return Normalized(output, mean, unbiased * ((elements - 1) / elements))


def _call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """Takes the place of `BatchNormalization.call`."""
    learns = bool(training and layer.trainable)
    dtype = _dtype(layer, inputs, learns) if mask is None else None
    if dtype is None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    if not learns:
        return _kernel(layer, inputs, dtype, frozen=True)[0]
    done = _normalized(layer, inputs, dtype)
    for moving, now in ((layer.moving_mean, done.mean), (layer.moving_variance, done.variance)):
        moving.assign(_float32(moving) * layer.momentum + now * (1.0 - layer.momentum))
    return done.output


def _kernel(layer: Any, inputs: Any, dtype: str, *, frozen: bool = False) -> tuple[Any, Any, Any]:
    """Output, mean and variance (of n - 1 elements); with the moving statistics where frozen.

    The op itself and not `tf.nn.fused_batch_norm`, which raises epsilon to 1.001e-5 for the sake of cuDNN.
    """
    shape, layout = _four_dimensions(layer, inputs)
    channels = layer.moving_mean.shape
    result = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs if shape is None else tf.reshape(inputs, shape), dtype),
        scale=_float32(layer.gamma) if layer.scale else tf.ones(channels),
        offset=_float32(layer.beta) if layer.center else tf.zeros(channels),
        mean=_float32(layer.moving_mean) if frozen else tf.zeros([0]),
        variance=_float32(layer.moving_variance) if frozen else tf.zeros([0]),
        epsilon=layer.epsilon,
        data_format=layout,
        is_training=not frozen,
    )
    output = result.y if shape is None else tf.reshape(result.y, tf.shape(inputs))
    output.set_shape(inputs.shape)
    return tf.cast(output, layer.compute_dtype), result.batch_mean, result.batch_variance


def _four_dimensions(layer: Any, inputs: Any) -> tuple[Any | None, str]:
    """The shape that the kernel takes the input in (None: its own), and the name of its layout."""
    rank = len(inputs.shape)
    first = layer.axis % rank == 1
    layout = "NCHW" if first else "NHWC"
    if rank == 4:
        return None, layout
    batch, *inner = tf.unstack(tf.shape(inputs), num=rank)
    channels = inner.pop(0 if first else -1)
    pixels = tf.reduce_prod(inner)
    return ([batch, channels, 1, pixels] if first else [batch, 1, pixels, channels]), layout


def _dtype(layer: Any, inputs: Any, training: bool) -> str | None:
    """What the kernel computes an input in; None where Keras's ops are faster or the kernel does not know the type.

    Measured on AVX-512 with bfloat16: the kernel wins 1.4 to 3 times in training. Over channels that do not fill
    blocks it wins in float32 alone, and for inference not even that pays for the casts. Inference with channels first
    it loses.
    """
    dtype: str = inputs.dtype.name
    if dtype not in KERNEL_DTYPES:
        return None
    if not training and layer.axis % len(inputs.shape) == 1:
        return None
    if dtype == "bfloat16" and layer.moving_mean.shape[0] % BLOCK:
        return "float32" if training else None
    return dtype


def _float32(variable: Any) -> Any:
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
