"""The metrics by name."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from eightfold.errors import RecipeError
from eightfold.metrics.accuracy import Agreement, TopK
from eightfold.metrics.auc import AUC
from eightfold.metrics.coco import CocoMAP
from eightfold.metrics.error import MeanSquaredError
from eightfold.metrics.metric import Metric
from eightfold.metrics.own import own_metric
from eightfold.metrics.ranking import NDCG, HitRate
from eightfold.metrics.voc import VocMAP

__all__ = ["METRICS", "metric"]

METRICS: Mapping[str, Callable[..., Metric]] = {
    "top1": partial(TopK, 1),
    "top5": partial(TopK, 5),
    "mse": MeanSquaredError,
    "agreement": Agreement,
    "auc": AUC,
    "hr@10": partial(HitRate, 10),
    "ndcg@10": partial(NDCG, 10),
    "coco-map": CocoMAP,
    "coco-map50": partial(CocoMAP, 0.5),
    "voc-map": VocMAP,
    "voc07-map": partial(VocMAP, True),
}
"""The metrics that go by a name; `top`, `hr@` and `ndcg@` take any other number too."""

_OF_FIRST_K: Mapping[str, Callable[..., Metric]] = {"top": TopK, "hr@": HitRate, "ndcg@": NDCG}


def metric(wanted: str | Callable[..., Any], first_label: int = 0) -> Metric:
    """A new metric.

    Args:
        wanted: a name; or the user's own: a function `(outputs, labels)` or a class that inherits `Metric`.
        first_label: the class number that the labels give to what the model calls class 0, for metrics of classes.

    Raises:
        RecipeError: there is none of that name, and the message names the nearest; or it knows no classes.
        MissingExtraError: it needs a package that is not installed.
    """
    if callable(wanted):
        make: Callable[..., Metric] = partial(own_metric, wanted)
    else:
        make = _named(wanted)
    if first_label == 0:
        return make()
    if "first_label" not in inspect.signature(make).parameters:
        raise RecipeError(f"the first label is {first_label}, and {make().name} knows no class numbers")
    return make(first_label=first_label)


def _named(name: str) -> Callable[..., Metric]:
    if name in METRICS:
        return METRICS[name]
    found = re.fullmatch(r"(top|hr@|ndcg@)([1-9]\d*)", name)
    if found:
        return partial(_OF_FIRST_K[found[1]], int(found[2]))
    near = difflib.get_close_matches(name.lower().replace("-", ""), METRICS, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(METRICS)} or module:function"
    raise RecipeError(f"unknown metric '{name}'; {hint}")
