"""From an exported model to a verified one: plan, calibrate, correct, lower, verify."""

from __future__ import annotations

from dataclasses import replace

from eightfold.data import Dataset
from eightfold.graph.model import Model
from eightfold.quantization.analyze import analyze, sample_of
from eightfold.quantization.export import Progress
from eightfold.quantization.fallback import Fallback
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.setting import Setting, settled
from eightfold.quantization.verify import Verifier

__all__ = ["divided", "quantized"]

_HELD_BACK = 64
"""Examples kept from calibration for the verification, at most; and at most a fifth of the data."""


def quantized(
    exported: Model, dataset: Dataset | None, recipe: Recipe, *, dynamic: bool, verify: bool, progress: Progress | None
) -> Quantized:
    """An exported model in 8 bits, verified on data that calibration has not seen; see `eightfold.quantize`.

    Args:
        exported: the float model.
        dataset: a sample of its input; `None` only with `dynamic`, and then nothing is verified.
        recipe: what is wanted.
        dynamic: compute ranges while running.
        verify: give back to float what is wrong or slower.
        progress: told about each stage.
    """
    if dataset is None:
        return settled(exported, recipe, None).lowered()
    used, held, count, separate = divided(dataset)
    setting = settled(exported, recipe, None if dynamic else used, progress)
    if verify:
        result = _verified(setting, Verifier(exported, held, separate, dataset.batch_size), progress)
    else:
        result = setting.lowered()
    report = replace(
        result.report,
        analysis=analyze(result, sample_of(held)) if verify and not dynamic and result.plan.steps else None,
        calibration_samples=0 if dynamic else count,
        notes=(*result.report.notes, *dataset.notes),
    )
    return replace(result, report=report)


def divided(dataset: Dataset) -> tuple[Dataset, Dataset, int, bool]:
    """What to calibrate with, what to verify with, the size of the first, and whether the two are disjoint."""
    size = dataset.size if dataset.size is not None else sum(batch.size for batch in dataset)
    holdout = min(_HELD_BACK, size // 5)
    if dataset.exact:  # both parts need full batches
        holdout = max(holdout // dataset.batch_size, 1) * dataset.batch_size
    if holdout == 0 or (dataset.exact and size < 2 * dataset.batch_size):
        return dataset, dataset, size, False
    rest, held = dataset.split(holdout)
    return rest, held, size - holdout if rest.size is None else rest.size, True


def _verified(setting: Setting, verifier: Verifier, progress: Progress | None) -> Quantized:
    """The fastest model of a setting that is right, with what was measured in its report."""
    tell = progress or (lambda *_: None)
    fallback = Fallback(setting, verifier)
    tell("verify", 0, 2)
    candidate = fallback.right()
    tell("verify", 1, 2)
    candidate = fallback.fast(candidate)
    tell("verify", 2, 2)
    report = replace(
        candidate.result.report,
        fidelity=candidate.fidelity,
        speed=(candidate.speed,) if candidate.speed else (),
        fallbacks=tuple(fallback.told),
    )
    return replace(candidate.result, report=report)
