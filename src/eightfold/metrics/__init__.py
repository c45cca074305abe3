"""How good a model's answers are, and how close to another model's."""

from __future__ import annotations

from eightfold.metrics.accuracy import Agreement, TopK
from eightfold.metrics.error import MeanSquaredError, sqnr_db
from eightfold.metrics.evaluate import Examples, Run, evaluate
from eightfold.metrics.metric import Metric, MetricResult
from eightfold.metrics.registry import METRICS, metric

__all__ = [
    "METRICS",
    "Agreement",
    "Examples",
    "MeanSquaredError",
    "Metric",
    "MetricResult",
    "Run",
    "TopK",
    "evaluate",
    "metric",
    "sqnr_db",
]
