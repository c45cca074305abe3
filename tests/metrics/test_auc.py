"""The area under the ROC curve, against scikit-learn and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from eightfold.errors import DataError
from eightfold.metrics import AUC, compare


def auc(outputs: Any, labels: Any) -> AUC:
    metric = AUC()
    metric.update(np.asarray(outputs), np.asarray(labels))
    return metric


def test_by_hand() -> None:
    # Pairs of positive and negative: 0.8 > 0.1, 0.8 > 0.4, 0.4 > 0.1, 0.4 = 0.4.
    result = auc([0.8, 0.4, 0.1, 0.4], [1, 1, 0, 0]).result()
    assert (result.name, result.value, result.n) == ("auc", 0.875, 4)


@given(seed=st.integers(0, 2**31), n=st.integers(4, 60), levels=st.integers(2, 50))
def test_equal_to_scikit_learn(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, n) / levels  # with ties, as 8-bit outputs have them
    labels = rng.permutation([0, 1, *rng.integers(0, 2, n - 2)])
    metric = AUC()
    metric.update(scores[:3, None], labels[:3])
    metric.update(scores[3:, None], labels[3:, None])
    assert metric.result().value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_forms_of_outputs_and_labels() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=30), np.arange(30) % 2
    expected = roc_auc_score(labels, scores)
    two = np.stack([rng.normal(size=30), np.zeros(30)], axis=1)
    two[:, 1] = two[:, 0] + scores  # the scores are the differences of the classes
    groups = np.stack([labels, np.arange(30) // 5], axis=1)
    for outputs, expected_labels in ((scores, groups), (two, labels), (two, np.eye(2)[labels])):
        assert auc(outputs, expected_labels).result().value == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_delongs() -> None:
    rng = np.random.default_rng(3)
    positive, negative = rng.normal(0.5, 1, 30), rng.normal(0, 1, 50)
    wins = (positive[:, None] > negative[None, :]).astype(float)  # the definition, all pairs at once
    error = np.sqrt(wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 50)
    result = auc(np.concatenate([positive, negative]), [1] * 30 + [0] * 50).result()
    np.testing.assert_allclose(result.interval, wins.mean() + np.array([-1, 1]) * 1.959964 * error, rtol=1e-6)


def test_intervals_hold_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(120) % 3 == 0
    truth = 0.7602499389065233  # of two normal distributions a standard deviation apart: Phi(1 / sqrt 2)
    held = paired = 0
    for _ in range(300):
        signal = rng.normal(size=120) + labels
        first, second = (auc(signal + rng.normal(0, 0.1, 120), labels) for _ in range(2))
        low, high = auc(signal, labels).result().interval
        held += low <= truth <= high
        comparison = compare(first, second)
        paired += comparison.within_noise
        assert comparison.interval[1] - comparison.interval[0] < 0.06 < high - low
    assert 0.92 <= held / 300 <= 0.98
    assert 0.91 <= paired / 300 <= 0.99


def test_nan_is_on_the_wrong_side() -> None:
    assert auc([np.nan, 0.9, 0.1], [1, 1, 0]).result().value == 0.5
    assert auc([np.nan, 0.9, 0.1], [0, 1, 0]).result().value == 0.5


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 1], r"needs scores \[n\], \[n, 1\], or \[n, 2\] of two classes.*float64\[2, 3\]"),
        (np.zeros(2), [0, 2], "labels that are 0 or 1, and they run from 0 to 2"),
        (np.zeros(2), [0, 1, 1], r"labels \[2\], or \[2, 2\] of label and group.* are int64\[3\]"),
        (np.zeros(2), [[0, 0.5], [1, 1]], "whole numbers as groups"),
        (np.zeros(2), [1, 1], "positive and negative examples, and all 2 are of one kind"),
    ],
)
def test_what_does_not_fit(outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        auc(outputs, labels).result()


def test_no_examples() -> None:
    with pytest.raises(DataError, match="auc has no value: the data set gave no examples"):
        AUC().result()
