"""Metrics of classifiers: is the right class among the first?"""

from __future__ import annotations

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Against, MetricResult, proportion

__all__ = ["Agreement", "TopK"]


class TopK:
    """The share of predictions whose label is among the `k` classes with the highest scores.

    Outputs are scores float[..., classes]. Labels are class numbers int[...] counted from 0, or one-hot
    [..., classes]; they are taken as they are, never shifted. Of equal scores the lower class comes first, as
    in `tf.math.top_k`; a prediction with NaN is a miss.
    """

    against: Against = "labels"

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"top{k}"
        self._hits = 0
        self._n = 0

    def update(self, outputs: Array, expected: Array) -> None:
        """Counts one batch.

        Raises:
            DataError: the outputs are no class scores, or the labels do not fit them.
        """
        scores = _scores(outputs, self.name)
        classes = scores.shape[-1]
        if classes <= self.k:
            raise DataError(f"{self.name} says nothing of a model with only {classes} classes")
        labels = _class_numbers(np.asarray(expected), outputs.shape, self.name)
        own = np.take_along_axis(scores, labels[:, None], axis=1)
        before = (scores > own) | ((scores == own) & (np.arange(classes) < labels[:, None]))
        valid = ~np.isnan(scores).any(axis=1)
        self._hits += int((valid & (before.sum(axis=1) < self.k)).sum())
        self._n += len(labels)

    def result(self) -> MetricResult:
        """The share of hits and its Wilson interval."""
        return proportion(self.name, self._hits, self._n)


class Agreement:
    """The share of predictions in which a model and its reference put the same class first.

    Both are scores float[..., classes] of one shape; a prediction with NaN on either side does not agree.
    """

    against: Against = "reference"
    name = "agreement"

    def __init__(self) -> None:
        self._hits = 0
        self._n = 0

    def update(self, outputs: Array, expected: Array) -> None:
        """Counts one batch.

        Raises:
            DataError: the outputs are no class scores, or differ in shape.
        """
        if outputs.shape != expected.shape:
            shapes = f"{list(outputs.shape)} and {list(expected.shape)}"
            raise DataError(f"agreement needs outputs of one shape, and the two models give {shapes}")
        ours, theirs = _scores(outputs, self.name), _scores(expected, self.name)
        valid = ~(np.isnan(ours).any(axis=1) | np.isnan(theirs).any(axis=1))
        self._hits += int((valid & (ours.argmax(axis=1) == theirs.argmax(axis=1))).sum())
        self._n += len(ours)

    def result(self) -> MetricResult:
        """The share of equal answers and its Wilson interval."""
        return proportion(self.name, self._hits, self._n)


def _scores(outputs: Array, name: str) -> Array:
    """The outputs as [predictions, classes]."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2 or outputs.dtype.kind not in "fiu":
        received = f"{outputs.dtype}{list(outputs.shape)}"
        raise DataError(f"{name} needs scores of 2 or more classes on the last axis, and the model gives {received}")
    return outputs.reshape(-1, outputs.shape[-1])


def _class_numbers(labels: Array, outputs: tuple[int, ...], name: str) -> Array:
    """The labels as int[predictions]."""
    classes = outputs[-1]
    if labels.shape == outputs:
        labels = labels.argmax(axis=-1)
    elif labels.shape == (*outputs[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != outputs[:-1]:
        raise DataError(
            f"{name} needs one class number for each prediction, or one-hot labels; the outputs are "
            f"{list(outputs)} and the labels {list(labels.shape)}"
        )
    numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise DataError(f"{name} needs whole class numbers as labels, and they are {labels.dtype}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= classes):
        raise DataError(
            f"the labels run from {numbers.min()} to {numbers.max()}, and the model has the classes 0 to "
            f"{classes - 1}; labels that count from another class must be shifted first"
        )
    return numbers.reshape(-1)
