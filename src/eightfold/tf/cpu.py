"""Whether TensorFlow has 8-bit kernels here; what the CPU itself can do is in `eightfold.system.instructions`."""

from __future__ import annotations

import os
import platform
from functools import lru_cache

import numpy as np
import tensorflow as tf

from eightfold.errors import ModelError, PlatformError
from eightfold.graph.encoding import Code, Encoding
from eightfold.graph.ir import Graph, Ref, Shape
from eightfold.rewrites.builder import Builder
from eightfold.rewrites.kernels import CONV, fused_conv
from eightfold.rewrites.weights import quantize_weight
from eightfold.system.instructions import cpu_flags
from eightfold.system.variables import ONEDNN_BY_ITSELF, onednn_off
from eightfold.tf.session import Runner

__all__ = ["require_int8_kernels"]


_SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def require_int8_kernels() -> None:
    """Checks that TensorFlow can run what would be written, by running one convolution.

    Raises:
        PlatformError: not an x86-64 CPU, oneDNN switched off, or a build without the kernels.
    """
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        arm = ", an Arm CPU" if machine.lower().startswith(("aarch64", "arm")) else ""
        raise PlatformError(
            f"TensorFlow has 8-bit kernels for x86-64 CPUs only, and this is {machine}{arm}; "
            "quantize and run the model on an x86-64 machine"
        )
    if onednn_off(os.environ):
        raise PlatformError(
            f"oneDNN is switched off by {_SWITCH}={os.environ[_SWITCH]}, and with it every 8-bit kernel; "
            "unset the variable or set it to 1"
        )
    failure = _probe()
    if failure:
        if _SWITCH not in os.environ and not cpu_flags() & ONEDNN_BY_ITSELF:
            failure += f"; on a CPU without VNNI, TensorFlow leaves oneDNN off: set {_SWITCH}=1 before it starts"
        raise PlatformError(
            f"this TensorFlow ({tf.__version__}) has no working 8-bit convolution: {failure}; "
            "expected a stock tensorflow or tensorflow-cpu of 2.16 or newer with oneDNN"
        )


@lru_cache
def _probe() -> str | None:
    """Runs one 8-bit convolution, as small as still takes the kernel of larger ones; what went wrong, or `None`."""
    builder = Builder(Graph(), {}, lambda _: Shape.UNKNOWN)
    x = Encoding(Code.UNSIGNED, 1.0)
    codes = builder.coded_constant("x", np.full((1, 14, 14, 64), 0.5, np.float32), x)
    weight = quantize_weight(np.full((1, 1, 64, 64), 0.25, np.float32), (3,))
    out = Encoding(Code.UNSIGNED, 16.0)
    result = builder.dequantized("y", fused_conv(builder, CONV, "conv", codes, weight, None, out, relu=True), out)
    try:
        with Runner(builder.graph()) as run:
            value = run([Ref(result.node)], {})[0]
    except (ModelError, tf.errors.OpError) as error:
        return str(error).strip().partition("\n")[0]
    return None if np.allclose(value, 8.0, atol=0.2) else f"it computed {value.flat[0]} where 8 was expected"
