"""Top-1, top-5 and agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.errors import DataError
from eightfold.metrics import Agreement, TopK


def share(k: int, outputs: Any, labels: Any) -> float:
    metric = TopK(k)
    metric.update(np.asarray(outputs, np.float32), np.asarray(labels))
    return metric.result().value


def test_top1_by_hand() -> None:
    outputs = [[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]
    assert share(1, outputs, [1, 0, 0, 1]) == 0.5
    assert share(2, outputs, [1, 0, 0, 1]) == 0.75


def test_batches_add_up() -> None:
    metric = TopK(1)
    metric.update(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    metric.update(np.eye(3, dtype=np.float32)[:1], np.array([2]))
    result = metric.result()
    assert (result.name, result.value, result.n) == ("top1", 0.75, 4)
    np.testing.assert_allclose(result.interval, (0.300642, 0.954413), atol=1e-6)


@pytest.mark.parametrize("labels", [[0, 2], [[0], [2]], [[1, 0, 0], [0, 0, 1]], [0.0, 2.0]])
def test_forms_of_labels(labels: Any) -> None:
    assert share(1, [[3, 1, 2], [1, 2, 3]], labels) == 1.0


def test_a_collapsed_model_is_not_right_everywhere() -> None:
    outputs = np.zeros((100, 10))
    assert share(1, outputs, np.arange(100) % 10) == 0.1
    assert share(5, outputs, np.arange(100) % 10) == 0.5


def test_nan_is_a_miss() -> None:
    assert share(1, [[np.nan, 1.0], [0.0, 1.0]], [1, 1]) == 0.5


def test_labels_that_count_from_1() -> None:
    metric = TopK(1, first_label=1)
    metric.update(np.eye(3), np.array([1, 2, 1]))
    assert metric.result().value == pytest.approx(2 / 3)
    metric.update(np.eye(3), np.eye(3))  # one-hot labels count nothing
    assert metric.result().value == pytest.approx(5 / 6)
    with pytest.raises(DataError, match="run from 0 to 3, and the model has the classes 1 to 3"):
        metric.update(np.eye(3), np.array([0, 1, 3]))


def test_labels_that_seem_to_count_from_1_get_a_note() -> None:
    metric = TopK(1)
    metric.update(np.eye(20)[:15], np.arange(1, 16))
    assert metric.result().value == 0.0
    assert metric.result().note == "top1 would be 100.00% with the first label 1, not 0"
    metric.update(np.eye(20)[:15], np.arange(15))
    assert metric.result().note == ""


@given(seed=st.integers(0, 2**31), k=st.integers(1, 5))
def test_equal_to_sorting(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    outputs = rng.integers(0, 4, (20, 7)).astype(np.float32)  # with many ties
    labels = rng.integers(0, 7, 20)
    first = np.argsort(-outputs, axis=1, kind="stable")[:, :k]
    assert share(k, outputs, labels) == pytest.approx(np.mean([y in row for y, row in zip(labels, first, strict=True)]))


def test_pixels_are_predictions_too() -> None:
    outputs = np.zeros((2, 3, 3, 4), np.float32)
    outputs[..., 2] = 1
    labels = np.full((2, 3, 3), 2)
    labels[0, 0, 0] = 1
    metric = TopK(1)
    metric.update(outputs, labels)
    assert (metric.result().n, metric.result().value) == (18, pytest.approx(17 / 18))
    # Two pictures, 8/9 and 9/9 right: the pixels of one are not independent.
    np.testing.assert_allclose(metric.result().interval, (17 / 18 - 1.959964 / 18, 1.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "outputs", "labels", "message"),
    [
        (1, np.zeros((2, 1)), [0, 0], r"scores of 2 or more classes.*float32\[2, 1\]"),
        (1, np.zeros(2), [0, 0], "scores of 2 or more classes"),
        (5, np.zeros((2, 3)), [0, 0], "top5 says nothing of a model with only 3 classes"),
        (1, np.zeros((2, 3)), [0, 0, 0], r"the outputs are \[2, 3\] and the labels \[3\]"),
        (1, np.zeros((2, 3)), [1, 3], r"run from 1 to 3, and the model has the classes 0 to 2; .* \(--first-label\)"),
        (1, np.zeros((2, 3)), [-1, 0], "run from -1 to 0"),
        (1, np.zeros((2, 3)), [0.5, 0], "whole class numbers"),
    ],
)
def test_what_does_not_fit(k: int, outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        share(k, outputs, labels)


def test_agreement_by_hand() -> None:
    metric = Agreement()
    metric.update(np.array([[1.0, 2], [2, 1], [np.nan, 1]]), np.array([[0.0, 9], [0, 9], [0, 1]]))
    result = metric.result()
    assert (result.name, result.n, result.value) == ("agreement", 3, pytest.approx(1 / 3))


def test_agreement_of_other_shapes() -> None:
    with pytest.raises(DataError, match=r"\[2, 3\] and \[2, 4\]"):
        Agreement().update(np.zeros((2, 3)), np.zeros((2, 4)))


def test_no_examples() -> None:
    for metric in (TopK(1), Agreement()):
        with pytest.raises(DataError, match="has no value: the data set gave no predictions"):
            metric.result()
