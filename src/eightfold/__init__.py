"""eightfold makes TensorFlow models fast on CPUs.

    import eightfold as ef

    model  = ef.export("resnet50/")            # any TF or Keras model -> float graph: frozen, folded, proven equal
    plan   = ef.plan(model, ef.Recipe())       # which nodes become which 8-bit op
    ranges = ef.calibrate(model, plan, images) # the ranges of the tensors that the plan names
    biases = ef.correct(model, plan, ranges, images)   # what takes the mean error of each layer away
    fast   = ef.lower(model, plan, ranges, biases)     # the 8-bit graph, its ranges frozen in
    fast.save("resnet50-int8/")                # an ordinary SavedModel

    fast = ef.quantize("resnet50/", images)    # the same in one call, and verified

TensorFlow is imported when the first of these is used, not with the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eightfold.graph.model import Model, Signature
    from eightfold.quantization.calibrate import calibrate
    from eightfold.quantization.correct import correct
    from eightfold.quantization.export import export
    from eightfold.quantization.plan import Plan
    from eightfold.quantization.recipe import Override, Recipe
    from eightfold.quantization.report import Report, read_report
    from eightfold.quantization.result import Quantized
    from eightfold.quantization.steps import lower, plan
    from eightfold.search.quantize import quantize
    from eightfold.search.sensitivity import rank

__version__ = "0.1.0"

__all__ = [
    "Model",
    "Override",
    "Plan",
    "Quantized",
    "Recipe",
    "Report",
    "Signature",
    "calibrate",
    "correct",
    "export",
    "lower",
    "plan",
    "quantize",
    "rank",
    "read_report",
]

_HOME = {
    "Model": "graph.model",
    "Override": "quantization.recipe",
    "Plan": "quantization.plan",
    "Quantized": "quantization.result",
    "Recipe": "quantization.recipe",
    "Report": "quantization.report",
    "Signature": "graph.model",
    "calibrate": "quantization.calibrate",
    "correct": "quantization.correct",
    "export": "quantization.export",
    "lower": "quantization.steps",
    "plan": "quantization.steps",
    "quantize": "search.quantize",
    "rank": "search.sensitivity",
    "read_report": "quantization.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eightfold' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"eightfold.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
