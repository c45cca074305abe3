"""The user's own metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eightfold.errors import DataError, RecipeError
from eightfold.graph.ir import Array
from eightfold.metrics.metric import Metric
from eightfold.metrics.sample import Mean

__all__ = ["FunctionMetric", "own_metric"]


class FunctionMetric(Metric):
    """The mean of what a function says of each example.

    `function(outputs, labels)` gives one number for each example of the batch, or one for the whole batch. Batches
    count by their examples; for the interval, a batch with one number is one observation. What the function says of
    itself is read from its attributes, all optional: `against`, `higher_is_better`, `all_outputs`.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.name = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__name__)}"
        self.against = getattr(function, "against", "labels")
        self.higher_is_better = bool(getattr(function, "higher_is_better", True))
        self.all_outputs = bool(getattr(function, "all_outputs", False))
        self._function = function
        self._seen = Mean()
        if self.against not in ("labels", "reference", "reference or labels"):
            raise RecipeError(
                f"{self.name}.against must be 'labels', 'reference' or 'reference or labels', not {self.against!r}"
            )

    def update(self, outputs: Any, expected: Any) -> None:
        """Takes in what the function says of one batch.

        Raises:
            DataError: that is neither one number nor one for each example, or not finite.
        """
        examples = _length(expected)
        values = self._values(self._function(outputs, expected), examples)
        if values.ndim == 0 and examples:
            self._seen.add(values[None] * examples, examples)
        elif examples:
            self._seen.add(values)

    def sample(self) -> Mean:
        """One value an example, or one a batch."""
        return self._seen

    def _values(self, given: Any, examples: int) -> Array:
        try:
            values = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            values = None
        if values is None or values.shape not in ((), (examples,)):
            received = f"a {type(given).__name__}" + ("" if values is None else f" of shape {list(values.shape)}")
            raise DataError(
                f"{self.name} must give one number, or one for each of the {examples} examples; it gave {received}"
            )
        if not np.isfinite(values).all():
            raise DataError(
                f"{self.name} must give finite numbers, and it gave {values[~np.isfinite(values)].ravel()[0]}"
            )
        return values


def own_metric(kind: Callable[..., Any]) -> Metric:
    """A new metric of the user's own: of a function `(outputs, labels)`, or of a class that is a `Metric`.

    Raises:
        RecipeError: the class cannot be made without arguments, or lacks what a metric has.
    """
    if not inspect.isclass(kind):
        return FunctionMetric(kind)
    try:
        made: Any = kind()
    except TypeError as error:
        raise RecipeError(f"the metric {kind.__module__}:{kind.__qualname__} cannot be made: {error}") from error
    lacking = [name for name in _MEMBERS if not hasattr(made, name)]
    if lacking:
        raise RecipeError(
            f"the metric {kind.__module__}:{kind.__qualname__} has no {', '.join(lacking)}; "
            f"inherit from eightfold.metrics.Metric and write name, update and sample"
        )
    metric: Metric = made
    return metric


_MEMBERS = ("name", *Metric.__annotations__, "update", "sample", "result")


def _length(expected: Any) -> int:
    """How many examples labels, or a reference's outputs, are for."""
    if isinstance(expected, Mapping):
        expected = next(iter(expected.values()))
    return len(expected)
