"""Where the graph of a model lies, and whether it is in 8 bits, without TensorFlow: names of ops are bytes of it."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

__all__ = ["graph_file", "graph_has", "is_quantized"]

_QUANTIZED = re.compile(rb"_?(?:Fused)?Quantized(?:Depthwise)?(?:Conv2D|MatMul)")
"""How 8-bit products are called; names of ops stand in a SavedModel and in a frozen graph as they are."""


def graph_file(model: Path) -> Path | None:
    """The file itself, or what a SavedModel folder keeps its graph in; None where the path is neither."""
    files = (model, model / "saved_model.pb", model / "saved_model.pbtxt")
    return next((file for file in files if file.is_file()), None)


def is_quantized(model: Path) -> bool:
    """Whether a SavedModel or a frozen graph has 8-bit products."""
    return graph_has(_QUANTIZED, model)


def graph_has(pattern: re.Pattern[bytes], model: Path) -> bool:
    """Whether the pattern is found in the graph of a model; False where there is none."""
    file = graph_file(model)
    if file is None or not file.stat().st_size:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None
