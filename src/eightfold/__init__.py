"""eightfold makes TensorFlow models fast on CPUs.

    import eightfold as ef

    model  = ef.export("resnet50/")            # any TF or Keras model -> float graph: frozen, folded, proven equal
    plan   = ef.plan(model, ef.Recipe())       # which nodes become which 8-bit op
    ranges = ef.calibrate(model, plan, images) # the ranges of the tensors that the plan names
    biases = ef.correct(model, plan, ranges, images)   # what takes the mean error of each layer away
    fast   = ef.lower(model, plan, ranges, biases)     # the 8-bit graph, its ranges frozen in
    fast.save("resnet50-int8/")                # an ordinary SavedModel

    fast = ef.quantize("resnet50/", images)    # the same in one call, and verified

    ef.tune("resnet50-int8/", mode="latency")  # the settings that run it fastest here, kept with it
    model = ef.load("resnet50-int8/")          # a function that runs with these settings

    ef.train("pictures/", "resnet50")          # a Keras classifier, trained several times faster on a CPU
    ef.data.image_folder("pictures/", 224)     # batches for a training script of your own

TensorFlow is imported when the first of these is used, not with the package; with oneDNN, also on CPUs on which it
leaves that off by itself, unless the environment says otherwise.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eightfold.graph.model import Model, Signature
    from eightfold.prediction.predict import predict
    from eightfold.quantization.calibrate import calibrate
    from eightfold.quantization.correct import correct
    from eightfold.quantization.export import export
    from eightfold.quantization.plan import Plan
    from eightfold.quantization.recipe import Override, Recipe
    from eightfold.quantization.report import Report, read_report
    from eightfold.quantization.result import Quantized
    from eightfold.quantization.steps import lower, plan
    from eightfold.running.loaded import Loaded, load
    from eightfold.running.scope import runtime
    from eightfold.running.settings import Runtime
    from eightfold.search.quantize import quantize
    from eightfold.search.sensitivity import rank
    from eightfold.training.accelerate import accelerate
    from eightfold.training.callback import RecomputeStatistics
    from eightfold.training.statistics import recompute_statistics
    from eightfold.training.train import Trained, train
    from eightfold.tuning.result import Tuning
    from eightfold.tuning.tune import tune

__version__ = "0.1.0"

__all__ = [
    "Loaded",
    "Model",
    "Override",
    "Plan",
    "Quantized",
    "Recipe",
    "RecomputeStatistics",
    "Report",
    "Runtime",
    "Signature",
    "Trained",
    "Tuning",
    "accelerate",
    "calibrate",
    "correct",
    "export",
    "load",
    "lower",
    "plan",
    "predict",
    "quantize",
    "rank",
    "read_report",
    "recompute_statistics",
    "runtime",
    "train",
    "tune",
]

_HOME = {
    "Loaded": "running.loaded",
    "Model": "graph.model",
    "Override": "quantization.recipe",
    "Plan": "quantization.plan",
    "Quantized": "quantization.result",
    "Recipe": "quantization.recipe",
    "RecomputeStatistics": "training.callback",
    "Report": "quantization.report",
    "Runtime": "running.settings",
    "Signature": "graph.model",
    "Trained": "training.train",
    "Tuning": "tuning.result",
    "accelerate": "training.accelerate",
    "calibrate": "quantization.calibrate",
    "correct": "quantization.correct",
    "export": "quantization.export",
    "load": "running.loaded",
    "lower": "quantization.steps",
    "plan": "quantization.steps",
    "predict": "prediction.predict",
    "quantize": "search.quantize",
    "rank": "search.sensitivity",
    "read_report": "quantization.report",
    "recompute_statistics": "training.statistics",
    "runtime": "running.scope",
    "train": "training.train",
    "tune": "tuning.tune",
}


def __getattr__(name: str) -> Any:
    if name != "data" and name not in _HOME:
        raise AttributeError(f"module 'eightfold' has no attribute {name!r}")
    from eightfold.system.onednn import switch_on

    switch_on()  # what is imported next may import TensorFlow
    if name == "data":
        return importlib.import_module("eightfold.data")
    value = getattr(importlib.import_module(f"eightfold.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
