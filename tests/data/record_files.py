"""Writes TFRecord files as the field does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

tf: Any = pytest.importorskip("tensorflow")


def feature(value: Any) -> Any:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    values = np.ravel(value)
    if values.dtype.kind == "S":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values.tolist()))
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write(path: Path, *records: Mapping[str, Any]) -> Path:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            features = tf.train.Features(feature={k: feature(v) for k, v in record.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def picture(value: int) -> bytes:
    """A grey PNG file of 8 x 8 pixels."""
    return encoded(np.full((8, 8, 3), value))


def encoded(pixels: Any) -> bytes:
    """A PNG file of these pixels, 0..255 [height, width, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "png")
    return buffer.getvalue()
