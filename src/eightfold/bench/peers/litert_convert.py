"""Converts a SavedModel to LiteRT and quantizes it in full, with the converter that this Python's TensorFlow ships.

Between its float input and output the model is in 8 bits, activations with a zero point, weights with a scale for each
channel; an operation for which LiteRT has no 8-bit kernel stays in float. See `converter` for the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from eightfold.bench.peers.converter import Conversion, answer
from eightfold.bench.peers.feeds import Feed, Specs, samples
from eightfold.bench.protocol import Refusal

__all__ = ["convert"]


def convert(asked: Conversion) -> Mapping[str, str]:
    """Writes `model.tflite`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    if not hasattr(tf, "lite"):
        raise Refusal(f"TensorFlow {tf.__version__} ships no converter to LiteRT (tf.lite) any more")
    converter = tf.lite.TFLiteConverter.from_saved_model(asked.model, signature_keys=[asked.signature])
    if asked.samples is not None:
        feeds = samples(asked.samples, _specs(asked))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _examples(feeds)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    (asked.output / "model.tflite").write_bytes(converter.convert())
    return {"tensorflow": tf.__version__}


def _specs(asked: Conversion) -> Specs:
    import tensorflow as tf

    inputs = tf.saved_model.load(asked.model).signatures[asked.signature].structured_input_signature[1]
    return {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in inputs.items()}


def _examples(feeds: list[Feed]) -> Iterator[dict[str, Any]]:
    for feed in feeds:
        yield dict(feed)


if __name__ == "__main__":
    answer(convert)
