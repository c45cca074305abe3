"""Where the graph of a model lies, and what is in it, without TensorFlow: names of ops are bytes of the file."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

__all__ = ["all_quantized", "graph_file", "graph_has", "is_quantized"]

_QUANTIZED = re.compile(rb"_?(?:Fused)?Quantized(?:Depthwise)?(?:Conv2D|MatMul)")
"""How 8-bit products are called; names of ops stand in a SavedModel and in a frozen graph as they are."""

_FLOAT = (
    "BatchMatMulV2",
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv3D",
    "DepthwiseConv2dNative",
    "Einsum",
    "FusedBatchNormV3",
    "MatMul",
    "Sigmoid",
)
"""What TensorFlow's rewrites make faster on a CPU: they fuse these with what comes before or after."""


def _op(name: str) -> bytes:
    """The op of a node, as protocol buffers write it in binary and as text; not a node or an attribute of that name."""
    return b'\\x12%s%s|op: "%s"' % (re.escape(bytes([len(name)])), name.encode(), name.encode())


_FLOAT_OP = re.compile(b"|".join(map(_op, _FLOAT)))


def graph_file(model: Path) -> Path | None:
    """The file itself, or what a SavedModel folder keeps its graph in; None where the path is neither."""
    files = (model, model / "saved_model.pb", model / "saved_model.pbtxt")
    return next((file for file in files if file.is_file()), None)


def is_quantized(model: Path) -> bool:
    """Whether a SavedModel or a frozen graph has 8-bit products."""
    return graph_has(_QUANTIZED, model)


def all_quantized(model: Path) -> bool:
    """Whether a graph has 8-bit products and nothing in float that TensorFlow's rewrites could make faster."""
    return is_quantized(model) and not graph_has(_FLOAT_OP, model)


def graph_has(pattern: re.Pattern[bytes], model: Path) -> bool:
    """Whether the pattern is found in the graph of a model; False where there is none."""
    file = graph_file(model)
    if file is None or not file.stat().st_size:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None
