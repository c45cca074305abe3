"""Whether TensorFlow has 8-bit kernels here; what the CPU itself can do is in `eightfold.system.instructions`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import tensorflow as tf

from eightfold.errors import ModelError, PlatformError
from eightfold.graph.encoding import Code, Encoding
from eightfold.graph.ir import Array, DType, Graph, Ref, Shape
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.kernels import CONV, fused_conv
from eightfold.rewrites.matmul import FLOAT_PRODUCT, FLOAT_PRODUCT_ATTRS
from eightfold.rewrites.weights import quantize_weight
from eightfold.system.instructions import cpu_flags
from eightfold.system.onednn import SWITCH, X86, left_off, onednn_off
from eightfold.tf.reasons import reason
from eightfold.tf.session import Runner

__all__ = ["require_int8_kernels"]


def require_int8_kernels() -> None:
    """Checks that TensorFlow can run what would be written, by running one convolution and one matrix product.

    Raises:
        PlatformError: not an x86-64 CPU, oneDNN switched off, or a build without the kernels.
    """
    machine = platform.machine()
    if machine not in X86:
        arm = ", an Arm CPU" if machine.lower().startswith(("aarch64", "arm")) else ""
        raise PlatformError(
            f"TensorFlow has 8-bit kernels for x86-64 CPUs only, and this is {machine}{arm}; "
            "quantize and run the model on an x86-64 machine"
        )
    if onednn_off(os.environ):
        raise PlatformError(
            f"oneDNN is switched off by {SWITCH}={os.environ[SWITCH]}, and with it every 8-bit kernel; "
            "unset the variable or set it to 1"
        )
    failure = _probe()
    if failure:
        if SWITCH not in os.environ and left_off(cpu_flags(), machine):
            failure += f"; on a CPU without VNNI, TensorFlow leaves oneDNN off: set {SWITCH}=1 before it is imported"
        raise PlatformError(
            f"this TensorFlow ({tf.__version__}) has no working 8-bit kernels: {failure}; "
            "expected a stock tensorflow or tensorflow-cpu of 2.16 or newer with oneDNN"
        )


@lru_cache
def _probe() -> str | None:
    """Runs one 8-bit convolution and one product, as small as still takes the kernels of larger ones.

    Both, since without oneDNN stock TensorFlow runs the convolution all the same, and the product not.

    Returns:
        What went wrong, or `None`.
    """
    return _wrong(_convolution, 8.0) or _wrong(_product, 8.0)


def _wrong(write: Callable[[Builder], Ref], expected: float) -> str | None:
    """What goes wrong where a tensor of equal numbers is computed, or `None`."""
    builder = Builder(Graph(), {}, lambda _: Shape.UNKNOWN)
    result = write(builder)
    try:
        with Runner(builder.graph()) as run:
            value: Array = run([Ref(result.node)], {})[0]
    except (ModelError, tf.errors.OpError) as error:
        return reason(error)
    return (
        None
        if np.allclose(value, expected, atol=0.2)
        else f"it computed {value.flat[0]} where {expected:g} was expected"
    )


def _convolution(b: Builder) -> Ref:
    x = Encoding(Code.UNSIGNED, 1.0)
    codes = b.coded_constant("x", np.full((1, 14, 14, 64), 0.5, np.float32), x)
    weight = quantize_weight(np.full((1, 1, 64, 64), 0.25, np.float32), (3,))
    out = Encoding(Code.UNSIGNED, 16.0)
    return b.dequantized("y", fused_conv(b, CONV, "conv", codes, weight, None, out, relu=True), out)


def _product(b: Builder) -> Ref:
    x = b.coded_constant("x", np.full((4, 64), 0.5, np.float32), Encoding(Code.UNSIGNED, 1.0))
    weight = b.const("weight", np.full((64, 16), 32, np.int8), DType("qint8"))
    bounds = (*b.kernel_range(x.encoding), *b.bounds(-127 / 128, 127 / 128), *b.bounds(0.0, 1.0))
    inputs = (x.ref, weight, b.const("bias", np.zeros(16, np.float32)), *bounds)
    return b.add(FLOAT_PRODUCT, "product", inputs, FLOAT_PRODUCT_ATTRS)
