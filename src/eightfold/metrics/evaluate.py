"""Runs a model over a data set and measures its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from eightfold.errors import DataError, RecipeError
from eightfold.graph.ir import Array
from eightfold.metrics.comparison import Comparison, compare
from eightfold.metrics.metric import Metric, MetricResult

__all__ = ["Examples", "Run", "evaluate", "evaluate_both"]

Run: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Inputs by name to outputs by name."""


class Examples(Protocol):
    """A batch: inputs by name, and labels where there are some; `eightfold.data.Batch` is one."""

    @property
    def inputs(self) -> Mapping[str, Array]: ...

    @property
    def labels(self) -> Array | None: ...


def evaluate(
    run: Run,
    batches: Iterable[Examples],
    metric: Metric,
    *,
    reference: Run | None = None,
    output: str | None = None,
) -> MetricResult:
    """The metric over all batches. One batch is in memory at a time; the metric keeps a few numbers an example.

    Args:
        run: the model.
        batches: the data.
        metric: what to measure; it keeps what it has seen, so give a new one.
        reference: the model to compare with, for metrics against a reference.
        output: which output to measure; may be left out where the model has one. For a metric of all outputs:
            what it calls them, `detection_boxes=boxes,detection_scores=scores`, where the model's names differ.

    Raises:
        RecipeError: the metric needs a reference and there is none, or the output is not one of the model's.
        DataError: the metric needs labels and the data has none, or they do not fit.
    """
    if metric.against == "reference" and reference is None:
        raise RecipeError(f"{metric.name} compares with a reference model, and none is given")
    for batch in batches:
        expected = _expected(batch, metric, reference, output)
        metric.update(_seen(run(batch.inputs), metric, output), expected)
    return metric.result()


def evaluate_both(
    run: Run,
    reference: Run,
    batches: Iterable[Examples],
    make: Callable[[], Metric],
    *,
    output: str | None = None,
) -> Comparison:
    """A metric against labels for two models, in one reading of the data, and what their difference is worth.

    Args:
        run: the model.
        reference: the model to compare it with.
        batches: the data.
        make: gives a new metric.
        output: as for `evaluate`, of both models.

    Raises:
        RecipeError: the output is not one of the models'.
        DataError: the data has no labels, or they do not fit.
    """
    ours, theirs = make(), make()
    for batch in batches:
        expected = _expected(batch, ours, None, output)
        for metric, model in ((ours, run), (theirs, reference)):
            metric.update(_seen(model(batch.inputs), metric, output), expected)
    return compare(theirs, ours)


def _expected(batch: Examples, metric: Metric, reference: Run | None, output: str | None) -> Any:
    if reference is not None and metric.against != "labels":
        return _seen(reference(batch.inputs), metric, output)
    if batch.labels is None:
        also = "" if metric.against == "labels" else " or a reference model"
        raise DataError(f"{metric.name} needs labels{also}, and the data has no labels")
    return batch.labels


def _seen(outputs: Mapping[str, Array], metric: Metric, output: str | None) -> Any:
    """What the metric gets to see: all outputs by name, or one of them."""
    return _named(outputs, metric, output) if metric.all_outputs else _chosen(outputs, output)


def _named(outputs: Mapping[str, Array], metric: Metric, names: str | None) -> Mapping[str, Array]:
    """All outputs, some of them also by the names that the metric has for them."""
    pairs = [pair.partition("=") for pair in names.split(",")] if names else []
    if not all(equals for _, equals, _ in pairs):
        raise RecipeError(f"{metric.name} takes all outputs by name: expected NAME=OUTPUT,..., received '{names}'")
    return {**outputs, **{name: _chosen(outputs, output) for name, _, output in pairs}}


def _chosen(outputs: Mapping[str, Array], output: str | None) -> Array:
    if output is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if output is None:
        raise RecipeError(f"the model has several outputs; choose one of {', '.join(outputs)}")
    if output not in outputs:
        raise RecipeError(f"the model has no output '{output}'; it has: {', '.join(outputs)}")
    return outputs[output]
