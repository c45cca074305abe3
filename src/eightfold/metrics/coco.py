"""Average precision as in the COCO challenge."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from eightfold.errors import MissingExtraError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Metric
from eightfold.metrics.objects import Detections, Objects, detections, objects
from eightfold.metrics.precision import Matches, MeanAveragePrecision

__all__ = ["CocoMAP"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)


class CocoMAP(Metric):
    """Mean average precision over intersections over union of 0.50, 0.55, ... 0.95, "AP" in COCO's tables, or at one.

    For outputs and labels see `metrics/objects.py`. Detections are matched by pycocotools: at most 100 of a class in an
    image, objects of all sizes; precision is averaged at the recalls 0, 0.01, ... 1. Ignored objects are crowds.

    Source: T.-Y. Lin et al., "Microsoft COCO: common objects in context", ECCV 2014, and the page "Detection
    Evaluation" of cocodataset.org.

    Args:
        threshold: the one intersection over union to use: 0.5 for `coco-map50`.
        first_label: the class number that the labels give to what the model calls class 0.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """

    all_outputs = True
    counts = "images"

    def __init__(self, threshold: float | None = None, first_label: int = 0) -> None:
        self.name = "coco-map" if threshold is None else f"coco-map{100 * threshold:g}"
        _pycocotools(self.name)
        self._thresholds = THRESHOLDS if threshold is None else np.array([threshold])
        self._first_label = first_label
        self._seen = MeanAveragePrecision(self.name, np.linspace(0, 1, 101))

    def update(self, outputs: Mapping[str, Array], expected: Array) -> None:
        """Takes in one batch.

        Raises:
            DataError: outputs or labels are not laid out as they must be.
        """
        found = detections(outputs, self.name)
        there = objects(expected, len(found), self.name, self._first_label)
        self._seen.add(len(found), _matches(found, there, self._thresholds, self._seen.n, self.name))

    def sample(self) -> MeanAveragePrecision:
        """The matches of each image."""
        return self._seen


def _matches(
    found: Sequence[Detections], there: Sequence[Objects], thresholds: Array, first: int, name: str
) -> list[Matches]:
    """The matches that pycocotools makes, of images numbered from `first` on."""
    coco, evaluation = _pycocotools(name)
    labels = np.unique(np.concatenate([*(d.classes for d in found), *(o.classes for o in there)])).tolist()
    with redirect_stdout(io.StringIO()):  # it prints what it does
        sides = []
        for annotations in (list(_truth(there, first)), list(_answers(found, first))):
            side = coco()
            side.dataset = {
                "images": [{"id": first + i} for i in range(len(found))],
                "categories": [{"id": label} for label in labels],
                "annotations": annotations,
            }
            side.createIndex()
            sides.append(side)
        matching = evaluation(*sides, "bbox")
        matching.params.iouThrs = thresholds
        matching.params.maxDets = [100]
        matching.params.areaRng, matching.params.areaRngLbl = [[0, np.inf]], ["all"]
        matching.evaluate()
    return [_match(result) for result in matching.evalImgs if result is not None]


def _match(result: Mapping[str, Any]) -> Matches:
    matched, ignored = np.asarray(result["dtMatches"]) != 0, np.asarray(result["dtIgnore"], bool)
    return Matches(
        label=int(result["category_id"]),
        image=int(result["image_id"]),
        scores=np.asarray(result["dtScores"], np.float64),
        hits=matched & ~ignored,
        misses=~matched & ~ignored,
        objects=int(np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)),
    )


def _truth(there: Sequence[Objects], first: int) -> Iterator[dict[str, Any]]:
    every = ((i, *row) for i, o in enumerate(there, first) for row in zip(o.boxes, o.classes, o.ignored, strict=True))
    for number, (image, box, label, ignored) in enumerate(every, start=1):  # pycocotools reads 0 as "no match"
        yield {**_annotation(number, image, box, label), "iscrowd": int(ignored)}


def _answers(found: Sequence[Detections], first: int) -> Iterator[dict[str, Any]]:
    every = ((i, *row) for i, d in enumerate(found, first) for row in zip(d.boxes, d.classes, d.scores, strict=True))
    for number, (image, box, label, score) in enumerate(every, start=1):
        yield {**_annotation(number, image, box, label), "score": float(score)}


def _annotation(number: int, image: int, box: Array, label: int) -> dict[str, Any]:
    """COCO's boxes are left, top, width, height."""
    top, left, bottom, right = box.tolist()
    width, height = max(right - left, 0.0), max(bottom - top, 0.0)
    return {
        "id": number,
        "image_id": image,
        "category_id": int(label),
        "bbox": [left, top, width, height],
        "area": width * height,
    }


def _pycocotools(name: str) -> tuple[Any, Any]:
    """The classes `COCO` and `COCOeval`."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingExtraError("pycocotools", "metrics", f"The metric {name}") from None
    return COCO, COCOeval
