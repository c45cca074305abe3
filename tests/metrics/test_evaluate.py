"""A model, a data set and a metric together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from eightfold.data import InputSpec, load
from eightfold.errors import DataError, RecipeError
from eightfold.metrics import METRICS, Agreement, MeanSquaredError, TopK, evaluate, evaluate_both, metric

SPECS = {"x": InputSpec("x", "float32", (None, 3))}
X = np.array([[3, 1, 2], [1, 2, 3], [1, 3, 2], [3, 2, 1], [0, 0, 1]], np.float32)
LABELS = np.array([0, 2, 2, 0, 2])


def same(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"scores": inputs["x"]}


def turned(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"scores": inputs["x"][:, ::-1]}


def two(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"scores": inputs["x"], "embedding": inputs["x"] * 2}


def test_over_batches() -> None:
    for batch_size in (1, 2, 5):
        result = evaluate(same, load((X, LABELS), inputs=SPECS, batch_size=batch_size), TopK(1))
        assert (result.value, result.n) == (0.8, 5)


def test_against_a_reference() -> None:
    data = load(X, inputs=SPECS, batch_size=2)
    assert evaluate(same, data, Agreement(), reference=same).value == 1.0
    assert evaluate(same, data, Agreement(), reference=turned).value == 0.2
    assert evaluate(same, data, MeanSquaredError(), reference=two, output="scores").value == 0.0


def test_mse_against_labels() -> None:
    data = load((X, X + 2), inputs=SPECS, batch_size=2)
    assert evaluate(same, data, MeanSquaredError()).value == 4.0


def test_outputs_by_name() -> None:
    data = load((X, LABELS), inputs=SPECS)
    assert evaluate(two, data, TopK(1), output="scores").value == 0.8
    with pytest.raises(RecipeError, match="several outputs; choose one of scores, embedding"):
        evaluate(two, data, TopK(1))
    with pytest.raises(RecipeError, match="no output 'probs'; it has: scores"):
        evaluate(same, data, TopK(1), output="probs")


def test_what_is_missing() -> None:
    data = load(X, inputs=SPECS)
    with pytest.raises(DataError, match="top1 needs labels, and the data has no labels"):
        evaluate(same, data, TopK(1), reference=same)
    with pytest.raises(DataError, match="mse needs labels or a reference model"):
        evaluate(same, data, MeanSquaredError())
    with pytest.raises(RecipeError, match="agreement compares with a reference model, and none is given"):
        evaluate(same, data, Agreement())


def test_every_metric_has_the_name_it_is_asked_by() -> None:
    assert {name: metric(name).name for name in METRICS} == {name: name for name in METRICS}
    assert metric("top1") is not metric("top1")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("top-1", "did you mean 'top1'?"),
        ("agree", "did you mean 'agreement'?"),
        ("MSE", "did you mean 'mse'?"),
        ("ndcg", "did you mean 'ndcg@10'?"),
        ("zzz", f"expected one of {', '.join(METRICS)} or module:function"),
    ],
)
def test_an_unknown_metric_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(RecipeError) as error:
        metric(name)
    assert str(error.value) == f"unknown metric '{name}'; {hint}"


def test_other_numbers() -> None:
    assert [metric(name).name for name in ("top3", "hr@20", "ndcg@5")] == ["top3", "hr@20", "ndcg@5"]


def test_the_first_label_is_for_classes() -> None:
    assert evaluate(same, load((X, LABELS + 1), inputs=SPECS), metric("top1", first_label=1)).value == 0.8
    for name in ("top5", "coco-map50", "voc07-map"):
        assert metric(name, first_label=1).name == name
    with pytest.raises(RecipeError, match="the first label is 1, and mse knows no class numbers"):
        metric("mse", first_label=1)


def test_two_models_in_one_reading() -> None:
    batches = iter(list(load((X, LABELS), inputs=SPECS, batch_size=2)))
    comparison = evaluate_both(turned, same, batches, lambda: TopK(1))
    assert (comparison.reference.value, comparison.candidate.value, comparison.candidate.n) == (0.8, 0.0, 5)
    assert comparison.drop == pytest.approx(0.8)


def test_all_outputs_by_name() -> None:
    class Ratio(MeanSquaredError):
        all_outputs = True

        def update(self, outputs: Any, expected: Any) -> None:
            super().update(outputs["embedding"] / 2 + 1, outputs["scores"])

    data = load((X, LABELS), inputs=SPECS)
    assert evaluate(two, data, Ratio()).value == 1.0
    assert evaluate(two, data, Ratio(), output="embedding=scores,scores=embedding").value > 1.0
    with pytest.raises(RecipeError, match="mse takes all outputs by name: expected NAME=OUTPUT,..., received 'scores'"):
        evaluate(two, data, Ratio(), output="scores")
    with pytest.raises(RecipeError, match="no output 'probs'; it has: scores, embedding"):
        evaluate(two, data, Ratio(), output="embedding=probs")
