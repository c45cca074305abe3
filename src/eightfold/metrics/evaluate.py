"""Runs a model over a data set and measures its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from eightfold.errors import DataError, RecipeError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Metric, MetricResult

__all__ = ["Examples", "Run", "evaluate"]

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
    """The metric over all batches; nothing but one batch is kept in memory.

    Args:
        run: the model.
        batches: the data.
        metric: what to measure; it keeps what it has seen, so give a new one.
        reference: the model to compare with, for metrics against a reference.
        output: which output to measure; may be left out where the model has one.

    Raises:
        RecipeError: the metric needs a reference and there is none, or the output is not one of the model's.
        DataError: the metric needs labels and the data has none, or they do not fit.
    """
    if metric.against == "reference" and reference is None:
        raise RecipeError(f"{metric.name} compares with a reference model, and none is given")
    for batch in batches:
        expected = _expected(batch, metric, reference, output)
        metric.update(_chosen(run(batch.inputs), output), expected)
    return metric.result()


def _expected(batch: Examples, metric: Metric, reference: Run | None, output: str | None) -> Array:
    if reference is not None and metric.against != "labels":
        return _chosen(reference(batch.inputs), output)
    if batch.labels is None:
        also = "" if metric.against == "labels" else " or a reference model"
        raise DataError(f"{metric.name} needs labels{also}, and the data has no labels")
    return batch.labels


def _chosen(outputs: Mapping[str, Array], output: str | None) -> Array:
    if output is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if output is None:
        raise RecipeError(f"the model has several outputs; choose one of {', '.join(outputs)}")
    if output not in outputs:
        raise RecipeError(f"the model has no output '{output}'; it has: {', '.join(outputs)}")
    return outputs[output]
