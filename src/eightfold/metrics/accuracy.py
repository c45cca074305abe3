"""Metrics of classifiers: is the right class among the first?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.metrics.interval import wilson
from eightfold.metrics.metric import Against, Metric, MetricResult
from eightfold.metrics.sample import Share

__all__ = ["Agreement", "TopK"]


class TopK(Metric):
    """The share of predictions whose label is among the `k` classes with the highest scores.

    Outputs are scores float[..., classes]. Labels are class numbers int[...], or one-hot [..., classes]. Of equal
    scores the lower class comes first, as in `tf.math.top_k`; a prediction with NaN is a miss.

    Args:
        k: how many classes may be named.
        first_label: the class number that the labels give the model's first class: 1 where they count from 1, as in
            ImageNet's TFRecord files for a model of 1000 classes.
    """

    is_share = True
    counts = "predictions"

    def __init__(self, k: int, first_label: int = 0) -> None:
        self.name = f"top{k}"
        self._k = k
        self._first_label = first_label
        self._seen = Share()
        self._hits_one_lower = 0
        """What the hits were if labels counted from one higher than they are said to."""

    def update(self, outputs: Array, expected: Array) -> None:
        """Counts one batch.

        Raises:
            DataError: the outputs are no class scores, or the labels do not fit them.
        """
        scores = _scores(outputs, self.name)
        if scores.shape[1] <= self._k:
            raise DataError(f"{self.name} says nothing of a model with only {scores.shape[1]} classes")
        labels = _class_numbers(np.asarray(expected), outputs.shape, self.name, self._first_label)
        _count(self._seen, _hits(scores, labels, self._k), len(outputs))
        self._hits_one_lower += int((_hits(scores, np.maximum(labels - 1, 0), self._k) & (labels > 0)).sum())

    def sample(self) -> Share:
        """The hits of each example."""
        return self._seen

    def result(self) -> MetricResult:
        """The share of hits, with a note where the labels seem to count from another number."""
        result, first = super().result(), self._first_label
        low, _ = wilson(self._hits_one_lower, result.n)
        if low <= result.interval[1]:
            return result
        shifted = f"{self._hits_one_lower / result.n:.2%}"
        return replace(result, note=f"{self.name} would be {shifted} with the first label {first + 1}, not {first}")


class Agreement(Metric):
    """The share of predictions in which a model and its reference put the same class first.

    Both are scores float[..., classes] of one shape; a prediction with NaN on either side does not agree.
    """

    name = "agreement"
    against: Against = "reference"
    is_share = True
    counts = "predictions"

    def __init__(self) -> None:
        self._seen = Share()

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
        _count(self._seen, valid & (ours.argmax(axis=1) == theirs.argmax(axis=1)), len(outputs))

    def sample(self) -> Share:
        """The equal answers of each example."""
        return self._seen


def _count(seen: Share, hits: Array, examples: int) -> None:
    """Takes in the hits bool[predictions] of some examples, which have equally many predictions each."""
    if examples:
        each = hits.reshape(examples, -1)
        seen.add(np.count_nonzero(each, axis=1), each.shape[1])


def _hits(scores: Array, labels: Array, k: int) -> Array:
    """Which labels int[predictions] are among the first `k` of scores [predictions, classes]."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None]))
    hits: Array = ~np.isnan(scores).any(axis=1) & (before.sum(axis=1) < k)
    return hits


def _scores(outputs: Array, name: str) -> Array:
    """The outputs as [predictions, classes]."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2 or outputs.dtype.kind not in "fiu":
        received = f"{outputs.dtype}{list(outputs.shape)}"
        raise DataError(f"{name} needs scores of 2 or more classes on the last axis, and the model gives {received}")
    return outputs.reshape(-1, outputs.shape[-1])


def _class_numbers(labels: Array, outputs: tuple[int, ...], name: str, first: int) -> Array:
    """The labels as int[predictions], counted from 0."""
    classes = outputs[-1]
    if labels.shape == outputs:
        return np.asarray(labels.argmax(axis=-1).reshape(-1))
    if labels.shape == (*outputs[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != outputs[:-1]:
        raise DataError(
            f"{name} needs one class number for each prediction, or one-hot labels; the outputs are "
            f"{list(outputs)} and the labels {list(labels.shape)}"
        )
    numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise DataError(f"{name} needs whole class numbers as labels, and they are {labels.dtype}")
    if numbers.size and (numbers.min() < first or numbers.max() >= classes + first):
        raise DataError(
            f"the labels run from {numbers.min()} to {numbers.max()}, and the model has the classes {first} to "
            f"{classes - 1 + first}; where the labels count from another number than {first}, "
            f"that is the first label: say which (--first-label)"
        )
    return np.asarray(numbers.reshape(-1) - first)
