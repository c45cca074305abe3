"""What went wrong inside TensorFlow or Keras, in one line."""

from __future__ import annotations

import re

import tensorflow as tf

__all__ = ["reason"]

_UNKNOWN_OP = re.compile(r"Op type not registered '([^']+)'")
_UNKNOWN_CLASS = re.compile(r"(?:Could not locate class|Unknown layer:) '([^']+)'")
_NOISE = ("Graph execution error", "Detected at node", "Node:", "[[", "Original stack trace", "File ")


def reason(error: Exception) -> str:
    """The line of an error's message that says most; its type where there is no message."""
    text = str(error)
    unknown = _UNKNOWN_OP.search(text)
    if unknown:
        return (
            f"TensorFlow {tf.__version__} does not know the op {unknown[1]!r}, "
            "which a newer TensorFlow or another library has written"
        )
    unknown = _UNKNOWN_CLASS.search(text)
    if unknown:
        return (
            f"it has the class {unknown[1]!r}, which Keras does not know; load it with custom_objects, give the object"
        )
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not line.startswith(_NOISE)), type(error).__name__)
