"""The metrics by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from eightfold.errors import RecipeError
from eightfold.metrics.accuracy import Agreement, TopK
from eightfold.metrics.error import MeanSquaredError
from eightfold.metrics.metric import Metric

__all__ = ["METRICS", "metric"]

METRICS: Mapping[str, Callable[[], Metric]] = {
    "top1": lambda: TopK(1),
    "top5": lambda: TopK(5),
    "mse": MeanSquaredError,
    "agreement": Agreement,
}


def metric(name: str) -> Metric:
    """A new metric of that name.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    if name in METRICS:
        return METRICS[name]()
    near = difflib.get_close_matches(name.lower().replace("-", ""), METRICS, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(METRICS)}"
    raise RecipeError(f"unknown metric '{name}'; {hint}")
