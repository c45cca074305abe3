"""How good a model's answers are, how sure that is, and how close they are to another model's."""

from __future__ import annotations

from eightfold.metrics.accuracy import Agreement, TopK
from eightfold.metrics.auc import AUC
from eightfold.metrics.coco import CocoMAP
from eightfold.metrics.comparison import Comparison, compare, drop
from eightfold.metrics.error import MeanSquaredError, sqnr_db
from eightfold.metrics.evaluate import Examples, Run, evaluate, evaluate_both
from eightfold.metrics.metric import Metric, MetricResult
from eightfold.metrics.own import FunctionMetric
from eightfold.metrics.ranking import NDCG, HitRate
from eightfold.metrics.registry import METRICS, metric
from eightfold.metrics.sample import Mean, Sample, Share
from eightfold.metrics.voc import VocMAP

__all__ = [
    "AUC",
    "METRICS",
    "NDCG",
    "Agreement",
    "CocoMAP",
    "Comparison",
    "Examples",
    "FunctionMetric",
    "HitRate",
    "Mean",
    "MeanSquaredError",
    "Metric",
    "MetricResult",
    "Run",
    "Sample",
    "Share",
    "TopK",
    "VocMAP",
    "compare",
    "drop",
    "evaluate",
    "evaluate_both",
    "metric",
    "sqnr_db",
]
