"""What TFRecord files call things: the feature names of ImageNet's and COCO's records, and the labels in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["PICTURE", "class_label", "has_objects", "object_rows", "values"]

PICTURE = "image/encoded"
CLASS_LABELS = ("image/class/label", "label", "y")
SOURCE_ID = "image/source_id"
BOX = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
OBJECT_CLASS = "image/object/class/label"
OBJECT_NAME = "image/object/class/text"
IGNORED = ("image/object/is_crowd", "image/object/difficult")
"""COCO's and VOC's names of objects that neither count as found nor as missed."""

Features = Mapping[str, Any]
"""The features of a `tf.train.Example` by name."""


def class_label(features: Features, inputs: Mapping[str, Any]) -> Array | None:
    """The label, taken as it is: a scalar where there is one value, else a vector; None where there is none."""
    key = next((key for key in CLASS_LABELS if key in features and key not in inputs), None)
    if key is None:
        return None
    label = values(features[key])
    return np.asarray(label[0] if label.size == 1 else label)


def has_objects(features: Features, inputs: Mapping[str, Any]) -> bool:
    """Whether records like this one are for object detection.

    ImageNet's records have boxes too, but a class for the picture; COCO's pictures without objects have no boxes, but
    a `image/source_id`.
    """
    boxed = BOX[0] in features or SOURCE_ID in features
    return boxed and class_label(features, inputs) is None and BOX[0] not in inputs


def object_rows(features: Features, where: str) -> Array:
    """The objects of a picture, float32[objects, 6]: ymin, xmin, ymax, xmax as parts of its size, class, ignored.

    Class numbers are taken as they are; those of COCO and of label maps count from 1.

    Raises:
        DataError: an object lacks a side of its box or its class number; `where` is for the message.
    """
    if BOX[0] not in features:
        return np.zeros((0, 6), np.float32)
    lacking = [key for key in (*BOX, OBJECT_CLASS) if key not in features]
    if lacking:
        named = f"; names ({OBJECT_NAME}) are no numbers" if OBJECT_NAME in features else ""
        raise DataError(f"the objects {where} have no {', '.join(lacking)}{named}")
    ignored = next((key for key in IGNORED if key in features), None)
    columns = [values(features[key]) for key in (*BOX, OBJECT_CLASS, *([ignored] if ignored else []))]
    if len({column.size for column in columns}) > 1:
        counts = ", ".join(str(column.size) for column in columns)
        raise DataError(f"the objects {where} have features of different lengths: {counts}")
    if ignored is None:
        columns.append(np.zeros(columns[0].size))
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


def values(feature: Any) -> Array:
    """What a feature holds: bytes as objects, float32 or int64, [n]."""
    kind = feature.WhichOneof("kind")
    if kind == "bytes_list":
        return np.array(list(feature.bytes_list.value), dtype=object)
    if kind == "float_list":
        return np.array(feature.float_list.value, np.float32)
    return np.array(feature.int64_list.value, np.int64)
