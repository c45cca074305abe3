"""Average precision over images, from detections that were matched with objects image by image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.sample import Resampled

__all__ = ["Matches", "MeanAveragePrecision", "average_precision"]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The detections of one class in one image, at T thresholds of intersection over union.

    Attributes:
        label: the class.
        image: the number of the image.
        scores: float64[n].
        hits: bool[T, n]: which detections are right.
        misses: bool[T, n]: which are wrong. A detection that is neither does not count.
        objects: how many objects there are to be found.
    """

    label: int
    image: int
    scores: Array
    hits: Array
    misses: Array
    objects: int


class MeanAveragePrecision(Resampled):
    """The mean over classes and thresholds of the average precision; classes without objects are left out.

    Args:
        name: of the metric, for messages.
        points: the recalls at which precision is averaged; None for the area under the curve.
    """

    def __init__(self, name: str, points: Array | None) -> None:
        super().__init__()
        self._name = name
        self._points = points
        self._images = 0
        self._matches: dict[int, list[Matches]] = {}
        self._curves: list[_Curve] | None = None

    @property
    def n(self) -> int:
        """How many images."""
        return self._images

    def add(self, images: int, matches: Iterable[Matches]) -> None:
        """Takes in so many images, numbered on from those before."""
        self._images += images
        self._curves = self._drawn = None
        for match in matches:
            self._matches.setdefault(match.label, []).append(match)

    def value(self) -> float:
        """The mean over classes.

        Raises:
            DataError: the labels have no object.
        """
        value = super().value()
        if math.isnan(value):
            raise DataError(f"{self._name} has no value: there are no objects in the {self.n} images")
        return value

    def weighted(self, weights: Array) -> float:
        """See `Resampled.weighted`."""
        if self._curves is None:
            self._curves = [_Curve.of(self._matches[label]) for label in sorted(self._matches)]
        values = [curve.value(weights, self._points) for curve in self._curves]
        found = [value for value in values if not math.isnan(value)]
        return sum(found) / len(found) if found else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """All detections of a class, best first.

    Precision is only looked at where a detection is right: elsewhere it is lower, at the same recall.
    """

    images: Array
    right: tuple[Array, ...]
    """The places of the detections that are right, for each threshold."""
    counted: Array
    """Which detections count, bool[rows, n]; thresholds that agree share a row."""
    rows: Array
    """The row of each threshold."""
    holders: Array
    objects: Array
    """How many objects are in each of the images `holders`."""

    @classmethod
    def of(cls, matches: Sequence[Matches]) -> _Curve:
        """Equal scores stay in the order of the images, as pycocotools has them."""
        order = np.argsort(-np.concatenate([m.scores for m in matches]), kind="stable")
        images = np.concatenate([np.full(len(m.scores), m.image) for m in matches])[order]
        hits = np.concatenate([m.hits for m in matches], axis=1)[:, order]
        misses = np.concatenate([m.misses for m in matches], axis=1)[:, order]
        counted, rows = np.unique(hits | misses, axis=0, return_inverse=True)
        holders, objects = np.array([(m.image, m.objects) for m in matches]).T
        return cls(images, tuple(map(np.flatnonzero, hits)), counted, rows.reshape(-1), holders, objects)

    def value(self, weights: Array, points: Array | None) -> float:
        """The average precision, mean over thresholds; NaN where there is no object."""
        total = int(weights[self.holders] @ self.objects)
        if total == 0:
            return math.nan
        each = weights[self.images]
        counted = np.cumsum(self.counted * each, axis=1)
        values = []
        for right, row in zip(self.right, self.rows, strict=True):
            found = np.cumsum(each[right])
            values.append(average_precision(found / total, found / np.maximum(counted[row, right], 1), points))
        return float(np.mean(values))


def average_precision(recall: Array, precision: Array, points: Array | None) -> float:
    """The precision averaged over recall; at each recall, the best precision at that or a higher one.

    Args:
        recall, precision: float64[n] after each detection, best first.
        points: the recalls to average at; None for the area under the curve.
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if points is None:
        return float(np.diff(recall, prepend=0.0) @ best)
    at = np.searchsorted(recall, points, side="left")
    return float(np.append(best, 0.0)[at].mean())
