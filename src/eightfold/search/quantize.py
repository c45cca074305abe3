"""`eightfold.quantize`: as it comes, or as a search for the fastest model that holds a metric."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eightfold.bench.budget import Budget, seconds_of
from eightfold.errors import DataError, RecipeError
from eightfold.quantization.calibrate import open_data
from eightfold.quantization.export import Progress, export
from eightfold.quantization.quantize import quantized
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.search.judge import Evaluate, Judge
from eightfold.search.run import Goal, searched
from eightfold.tf.cpu import require_int8_kernels
from eightfold.tf.garbage import quick_collection

__all__ = ["MAX_DROP", "quantize"]

MAX_DROP = 0.005
"""How much of the metric may be lost where the user does not say: half a point of a share."""


def quantize(  # noqa: PLR0913  (one argument for each option)
    model: Any,
    data: Any = None,
    *,
    recipe: Recipe | None = None,
    samples: int | None = None,
    batch_size: int = 32,
    preprocess: str | None = None,
    dynamic: bool = False,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    verify: bool = True,
    evaluate: Evaluate | None = None,
    max_drop: float | None = None,
    budget: float | str | None = None,
    trials: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Quantized:
    """Any TensorFlow or Keras model as an 8-bit model that stock TensorFlow runs.

    With `evaluate`, the result is the fastest model found that loses at most `max_drop` of what it measures: choices
    for the whole model first, then as few steps as need be are given back to bfloat16 or fp32. Ctrl-C, a spent budget
    or a target out of reach ends with the best model so far; `report.search` says what was tried and whether the
    target was reached.

    Args:
        model: see `export`.
        data: a sample of the real input, see `calibrate`; not needed with `dynamic`.
        recipe: what is wanted; the defaults when left out.
        samples: how many examples to use; 300 when left out. A fifth of them, at most 64, is held back from
            calibration for the verification.
        batch_size: examples in a batch, also of the speed comparison.
        preprocess: for folders of images: raw, tf, torch, caffe or `module:function`.
        dynamic: compute ranges while running, without data: slower, and no saturation.
        inputs, outputs: tensor names, for graphs without a signature.
        verify: compare with the float model, and give back to float what is wrong or slower; not with `evaluate`,
            which decides instead.
        evaluate: given a function of arrays by input name that gives arrays by output name, says how good the model
            behind it is: a number, higher is better. Called for each candidate.
        max_drop: how much lower than for the float model that number may be; 0.005 when left out.
        budget: how long to search: seconds, or a text such as `30m`.
        trials: a file to which each trial is written as a line of JSON.
        resume: go on with what that file has: nothing in it is measured again.
        progress: told about each stage.

    Returns:
        The 8-bit model with its report; `.save(path)` writes it.

    Raises:
        EightfoldError: see `eightfold.errors`.
        KeyboardInterrupt: Ctrl-C before any candidate was measured.
    """
    goal = None
    if evaluate is None:
        _require_none(max_drop=max_drop, budget=budget, trials=trials, resume=resume or None)
    elif dynamic or data is None:
        raise RecipeError("a search needs calibrated ranges: expected data, and not dynamic=True")
    elif resume and trials is None:
        raise RecipeError("resume goes on with a file of trials, and none is named")
    else:
        goal = Goal(Judge.of(evaluate), MAX_DROP if max_drop is None else max_drop)
    clock = Budget(None if budget is None else seconds_of(budget))
    require_int8_kernels()
    if data is None and not dynamic:
        raise DataError("calibration needs data: a sample of the model's real input; or ask for dynamic ranges")
    recipe = recipe or Recipe()
    exported = export(model, inputs=inputs, outputs=outputs, progress=progress)
    sample: dict[str, Any] = {"samples": samples, "batch_size": batch_size, "preprocess": preprocess}
    dataset = None if data is None else open_data(exported, data, **sample)
    with quick_collection():
        if goal is None or dataset is None:
            return quantized(exported, dataset, recipe, dynamic=dynamic, verify=verify, progress=progress)
        log = None if trials is None else Path(trials)
        return searched(exported, dataset, recipe, goal, clock, log, resume=resume, progress=progress)


def _require_none(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise RecipeError(f"{name} is for a search, which needs evaluate: a function that says how good a model is")
