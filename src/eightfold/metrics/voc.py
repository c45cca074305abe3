"""Average precision as in the PASCAL VOC challenge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eightfold.graph.ir import Array
from eightfold.metrics.metric import Metric
from eightfold.metrics.objects import Detections, Objects, detections, objects
from eightfold.metrics.precision import Matches, MeanAveragePrecision

__all__ = ["VocMAP"]

OVERLAP = 0.5


class VocMAP(Metric):
    """Mean average precision at an intersection over union of 0.5; for outputs and labels see `metrics/objects.py`.

    A detection belongs to the object of its class that it overlaps most. It is right where that is at least half and
    no better detection has taken the object; one of an ignored ("difficult") object does not count.

    Source: M. Everingham et al., "The PASCAL Visual Object Classes (VOC) challenge", IJCV 88, 2010, section 4.2, and
    `VOCevaldet.m` of its development kit, which adds a pixel to widths and heights; here boxes are continuous.

    Args:
        eleven_points: average the precision at the recalls 0, 0.1, ... 1, as VOC did until 2009 (`voc07-map`), instead
            of taking the area under the curve, as since 2010 (`voc-map`).
        first_label: the class number that the labels give to what the model calls class 0.
    """

    all_outputs = True
    counts = "images"

    def __init__(self, eleven_points: bool = False, first_label: int = 0) -> None:
        self.name = "voc07-map" if eleven_points else "voc-map"
        self._first_label = first_label
        self._seen = MeanAveragePrecision(self.name, np.linspace(0, 1, 11) if eleven_points else None)

    def update(self, outputs: Mapping[str, Array], expected: Array) -> None:
        """Takes in one batch.

        Raises:
            DataError: outputs or labels are not laid out as they must be.
        """
        found = detections(outputs, self.name)
        there = objects(expected, len(found), self.name, self._first_label)
        first = self._seen.n
        pairs = enumerate(zip(found, there, strict=True), start=first)
        self._seen.add(len(found), [m for image, (ours, theirs) in pairs for m in _matches(image, ours, theirs)])

    def sample(self) -> MeanAveragePrecision:
        """The matches of each image."""
        return self._seen


def _matches(image: int, found: Detections, there: Objects) -> list[Matches]:
    """One for each class."""
    result = []
    for label in np.union1d(found.classes, there.classes).tolist():
        ours, theirs = found.classes == label, there.classes == label
        ignored = there.ignored[theirs]
        hits, misses = _match(_overlaps(found.boxes[ours], there.boxes[theirs]), ignored)
        wanted = int(np.count_nonzero(~ignored))
        result.append(Matches(label, image, found.scores[ours], hits[None], misses[None], wanted))
    return result


def _match(overlaps: Array, ignored: Array) -> tuple[Array, Array]:
    """Which detections are right, and which wrong, bool[n] each, from overlaps [n, objects]; best first."""
    count = len(overlaps)
    if not len(ignored):
        return np.zeros(count, bool), np.ones(count, bool)
    chosen, reached = overlaps.argmax(axis=1), overlaps.max(axis=1, initial=0.0) >= OVERLAP
    free = reached & ~ignored[chosen]
    hits = np.zeros(count, bool)
    _, first = np.unique(chosen[free], return_index=True)
    hits[np.flatnonzero(free)[first]] = True
    return hits, ~hits & ~(reached & ignored[chosen])


def _overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of boxes [n, 4] and [m, 4], as [n, m]."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(size, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - common
    overlaps: Array = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps
