"""What a detector found, and what is there: outputs and labels of object detection, image by image.

Outputs have the names of the TensorFlow Object Detection API:

    detection_boxes    float[images, n, 4]: ymin, xmin, ymax, xmax
    detection_scores   float[images, n]
    detection_classes  [images, n], class numbers
    num_detections     [images], optional: how many of the n count; without it, those with a score above 0

Labels have one row for each object: ymin, xmin, ymax, xmax, class, and, where there is a sixth column, whether the
object is ignored (COCO's crowds, VOC's difficult objects): neither finding nor missing it counts. They are either
float[images, objects, 5 or 6], padded with boxes of no area, or object[images] of arrays [objects, 5 or 6], as
TFRecord files give them.

The unit of boxes is free, pixels or parts of the image's height and width, but the same on both sides: intersection
over union does not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Detections", "Objects", "detections", "objects"]

BOXES, SCORES, CLASSES, COUNT = "detection_boxes", "detection_scores", "detection_classes", "num_detections"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: float64[n, 4]: ymin, xmin, ymax, xmax.
        scores: float64[n].
        classes: int64[n].
    """

    boxes: Array
    scores: Array
    classes: Array


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What is in one image.

    Attributes:
        boxes: float64[n, 4]: ymin, xmin, ymax, xmax.
        classes: int64[n].
        ignored: bool[n].
    """

    boxes: Array
    classes: Array
    ignored: Array


def detections(outputs: Mapping[str, Array], name: str) -> list[Detections]:
    """The detections of each image of a batch; those with NaN are left out.

    Raises:
        DataError: an output is missing or of another shape; `name` is the metric, for the message.
    """
    lacking = [key for key in (BOXES, SCORES, CLASSES) if key not in outputs]
    if lacking:
        raise DataError(f"{name} needs the outputs {', '.join(lacking)}; the model has {', '.join(outputs)}")
    boxes, scores, classes = (np.asarray(outputs[key]) for key in (BOXES, SCORES, CLASSES))
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not scores.shape == classes.shape == boxes.shape[:2]:
        shapes = ", ".join(str(list(array.shape)) for array in (boxes, scores, classes))
        raise DataError(
            f"{name} needs {BOXES} [images, n, 4], {SCORES} and {CLASSES} [images, n]; their shapes are {shapes}"
        )
    return [_found(*parts) for parts in zip(boxes, scores, classes, _valid(outputs, scores), strict=True)]


def _valid(outputs: Mapping[str, Array], scores: Array) -> Array:
    """Which detections count, bool[images, n]."""
    if COUNT not in outputs:
        return np.asarray(scores > 0)
    counts = np.asarray(outputs[COUNT]).reshape(len(scores), 1)
    return np.asarray(np.arange(scores.shape[1]) < counts)


def _found(boxes: Array, scores: Array, classes: Array, valid: Array) -> Detections:
    chosen = np.flatnonzero(valid & np.isfinite(boxes).all(axis=1) & ~np.isnan(scores))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    numbers = np.rint(classes[chosen]).astype(np.int64)
    return Detections(boxes[chosen].astype(np.float64), scores[chosen].astype(np.float64), numbers)


def objects(labels: Array, images: int, name: str, first_label: int = 0) -> list[Objects]:
    """The objects of each of `images` images; `first_label` is taken off their class numbers.

    Raises:
        DataError: the labels are no rows of 5 or 6 numbers; `name` is the metric, for the message.
    """
    if len(labels) != images:
        raise DataError(f"{name} has {images} images and labels of {len(labels)}")
    return [_objects(np.asarray(rows), name, first_label) for rows in labels]


def _objects(rows: Array, name: str, first_label: int) -> Objects:
    if rows.dtype.kind not in "iuf" or rows.ndim != 2 or rows.shape[1] not in (5, 6):
        raise DataError(
            f"{name} needs labels with one row for each object: ymin, xmin, ymax, xmax, class and, if wanted, ignored; "
            f"those of an image are {rows.dtype}{list(rows.shape)}"
        )
    rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])].astype(np.float64)
    ignored = rows[:, 5] != 0 if rows.shape[1] == 6 else np.zeros(len(rows), bool)
    return Objects(rows[:, :4], np.rint(rows[:, 4]).astype(np.int64) - first_label, ignored)
