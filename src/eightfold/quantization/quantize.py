"""The whole way in one call: export, plan, calibrate, correct, lower, verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eightfold.data import Dataset
from eightfold.errors import DataError
from eightfold.quantization.analyze import analyze, sample_of
from eightfold.quantization.calibrate import open_data
from eightfold.quantization.export import Progress, export
from eightfold.quantization.fallback import Fallback
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.setting import Setting, settled
from eightfold.quantization.verify import Verifier
from eightfold.tf.cpu import require_int8_kernels

__all__ = ["divided", "quantize"]

_HELD_BACK = 64
"""Examples kept from calibration for the verification, at most; and at most a fifth of the data."""


def quantize(
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
    progress: Progress | None = None,
) -> Quantized:
    """Any TensorFlow or Keras model as an 8-bit model that stock TensorFlow runs.

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
        verify: compare with the float model, and give back to float what is wrong or slower.
        progress: told about each stage.

    Returns:
        The 8-bit model with its report; `.save(path)` writes it.

    Raises:
        EightfoldError: see `eightfold.errors`.
    """
    require_int8_kernels()
    recipe = recipe or Recipe()
    if data is None and not dynamic:
        raise DataError("calibration needs data: a sample of the model's real input; or ask for dynamic ranges")
    exported = export(model, inputs=inputs, outputs=outputs, progress=progress)
    if data is None:
        return settled(exported, recipe, None).lowered()
    dataset = open_data(exported, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
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
