"""The user's own metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eightfold.data import InputSpec, load
from eightfold.errors import DataError, RecipeError
from eightfold.metrics import Metric, Share, compare, evaluate, metric

SPECS = {"x": InputSpec("x", "float32", (None, 1))}
X = np.arange(5, dtype=np.float32)[:, None]


def run(inputs: Any) -> dict[str, Any]:
    return {"y": inputs["x"]}


def two(inputs: Any) -> dict[str, Any]:
    return {"y": inputs["x"], "z": inputs["x"] + 1}


def absolute_error(outputs: Any, labels: Any) -> Any:
    return np.abs(outputs - labels).mean(axis=1)


def batch_error(outputs: Any, labels: Any) -> Any:
    return float(np.abs(outputs - labels).mean())


def gap(outputs: Any, labels: Any) -> Any:
    return (outputs["z"] - outputs["y"]).ravel() + labels


gap.all_outputs = True  # type: ignore[attr-defined]
gap.higher_is_better = False  # type: ignore[attr-defined]


def test_one_number_an_example() -> None:
    for batch_size in (1, 2, 5):
        result = evaluate(run, load((X, X**2), inputs=SPECS, batch_size=batch_size), metric(absolute_error))
        assert (result.value, result.n, result.higher_is_better) == (4.0, 5, True)  # 0, 0, 2, 6, 12
        half = 1.959963984540054 * np.std([0, 0, 2, 6, 12], ddof=1) / np.sqrt(5)
        np.testing.assert_allclose(result.interval, (4 - half, 4 + half))
        assert result.name == f"{__name__}:absolute_error"


def test_one_number_a_batch_counts_by_its_examples() -> None:
    result = evaluate(run, load((X, X**2), inputs=SPECS, batch_size=3), metric(batch_error))
    assert (result.value, result.n) == (pytest.approx(4.0), 5)
    assert result.interval[0] < 0
    assert result.interval[1] > 8
    whole = evaluate(run, load((X, X**2), inputs=SPECS), metric(batch_error))
    assert whole.interval == (-np.inf, np.inf)  # one observation


def test_all_outputs_and_which_way_is_better() -> None:
    result = evaluate(two, load((X, np.zeros(5)), inputs=SPECS), metric(gap))
    assert (result.value, result.higher_is_better) == (1.0, False)


def test_against_a_reference() -> None:
    def ratio(outputs: Any, expected: Any) -> Any:
        return outputs[:, 0] - expected[:, 0]

    ratio.against = "reference"  # type: ignore[attr-defined]
    assert evaluate(run, load(X, inputs=SPECS), metric(ratio), reference=lambda i: {"y": i["x"] - 3}).value == 3.0
    ratio.against = "nothing"  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match="against must be 'labels'.*not 'nothing'"):
        metric(ratio)


class Positive(Metric):
    """The share of positive outputs."""

    name = "positive"

    def __init__(self) -> None:
        self._seen = Share()

    def update(self, outputs: Any, expected: Any) -> None:
        self._seen.add((outputs > 0).reshape(len(outputs)))

    def sample(self) -> Share:
        return self._seen


def test_a_class() -> None:
    first, second = metric(Positive), metric(Positive)
    result = evaluate(run, load((X, X), inputs=SPECS), first)
    assert (result.name, result.value, result.n, result.higher_is_better) == ("positive", 0.8, 5, True)
    evaluate(run, load((-X, X), inputs=SPECS), second)
    assert compare(first, second).difference == -0.8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(3), r"one number, or one for each of the 5 examples; it gave a ndarray of shape \[3\]"),
        ("good", "it gave a str"),
        ({}, "it gave a dict"),
        (np.array([1, 2, np.inf, 4, 5]), "finite numbers, and it gave inf"),
    ],
)
def test_what_no_metric_gives(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(run, load((X, X), inputs=SPECS), metric(lambda outputs, labels: given))


def test_classes_that_are_no_metrics() -> None:
    class Half(Metric):
        name = "half"

    class Other:
        name = "other"

    with pytest.raises(RecipeError, match="Half cannot be made: Can't instantiate abstract class"):
        metric(Half)
    with pytest.raises(RecipeError, match="Other has no against, .*update, sample, result; inherit from eightfold"):
        metric(Other)
