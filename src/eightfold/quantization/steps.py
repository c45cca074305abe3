"""The public steps: plan, lower, and quantize, which runs them all and verifies the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eightfold.data import Dataset
from eightfold.errors import DataError
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.calibrate import calibrate, open_data
from eightfold.quantization.dynamic import lower_dynamic
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.export import Progress, export
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.report import Fidelity, Report, Speed
from eightfold.quantization.result import Quantized
from eightfold.quantization.summary import summarize
from eightfold.quantization.verify import Verifier
from eightfold.tf.cpu import require_int8_kernels, weight_bits
from eightfold.tf.session import infer

__all__ = ["lower", "plan", "quantize"]

_HELD_BACK = 64
"""Examples kept from calibration for the verification, at most; and at most a fifth of the data."""

_MOST_FALLBACKS = 12


def plan(model: Model, recipe: Recipe | None = None) -> Plan:
    """Decides which nodes of an exported model become which 8-bit op. No data is needed and nothing is written.

    Args:
        model: from `export`.
        recipe: what is wanted; the defaults when left out.

    Returns:
        The steps chosen, and the reason for every node that stays in float.
    """
    return make_plan(model, infer(model.graph), recipe or Recipe())


def lower(model: Model, plan: Plan, ranges: Mapping[Ref, Range] | None = None) -> Quantized:
    """Writes the 8-bit graph of a plan.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit; `plan.without(...)` gives nodes back without a new calibration.
        ranges: from `calibrate`. Without them the graph computes its ranges while it runs.

    Raises:
        PlatformError: this TensorFlow has no 8-bit kernels.
        DataError: a range that the plan needs is missing.
    """
    require_int8_kernels()
    bits = plan.recipe.weight_bits or weight_bits()
    if ranges is None:
        written = lower_dynamic(model, plan, weight_bits=bits)
    else:
        missing = [str(ref) for ref in plan.tensors if ref not in ranges]
        if missing:
            raise DataError(f"the ranges lack {missing[0]} and {len(missing) - 1} more; calibrate with this plan")
        written = lower_plan(model, plan, ranges, weight_bits=bits)
    report = summarize(model, written, plan, dynamic=ranges is None, weight_bits=bits, ranges=ranges)
    return Quantized(written, model, plan, ranges, report)


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
    chosen = plan(exported, recipe)
    if data is None:
        return lower(exported, chosen)
    dataset = open_data(exported, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
    used, held, separate = _divided(dataset)
    if dynamic:
        job = _Job(exported, None, 0, progress)
    else:
        ranges = calibrate(exported, chosen, used, batch_size=batch_size, progress=progress)
        job = _Job(exported, ranges, used.size or 0, progress)
    if not verify:
        return job.lowered(chosen, dataset.notes)
    return job.verified(chosen, Verifier(exported, held, separate, batch_size), dataset.notes)


def _divided(dataset: Dataset) -> tuple[Dataset, Dataset, bool]:
    """What to calibrate with, what to verify with, and whether the two are disjoint."""
    size = dataset.size if dataset.size is not None else sum(batch.size for batch in dataset)
    holdout = min(_HELD_BACK, size // 5)
    if holdout == 0:
        return dataset, dataset, False
    rest, held = dataset.split(holdout)
    return rest, held, True


@dataclass(frozen=True)
class _Job:
    """One quantization on its way from a plan to a verified model."""

    source: Model
    ranges: Mapping[Ref, Range] | None
    samples: int
    progress: Progress | None

    def lowered(self, plan: Plan, notes: Sequence[str] = ()) -> Quantized:
        result = lower(self.source, plan, self.ranges)
        report = replace(result.report, calibration_samples=self.samples, notes=(*result.report.notes, *notes))
        return replace(result, report=report)

    def verified(self, plan: Plan, verifier: Verifier, notes: Sequence[str]) -> Quantized:
        """The fastest form of the plan that is right; the float model itself in the worst case."""
        tell = self.progress or (lambda *_: None)
        tell("verify", 0, 2)
        plan, result, fidelity, wrong = self._made_right(plan, verifier)
        tell("verify", 1, 2)
        plan, result, fidelity, speed, slow = self._made_fast(plan, result, fidelity, verifier)
        tell("verify", 2, 2)
        report = replace(
            result.report,
            fidelity=fidelity,
            speed=(speed,),
            fallbacks=(*wrong, *slow),
            calibration_samples=self.samples,
            notes=(*result.report.notes, *notes),
        )
        return replace(result, report=report)

    def _made_right(self, plan: Plan, verifier: Verifier) -> tuple[Plan, Quantized, Fidelity, list[str]]:
        """Gives back the step that loses most of the signal until the outputs are close enough."""
        told: list[str] = []
        while True:
            result = lower(self.source, plan, self.ranges)
            fidelity = verifier.fidelity(result.model)
            good = np.isfinite(fidelity.sqnr_db) and fidelity.sqnr_db >= plan.recipe.min_sqnr_db
            if good or not plan.recipe.fallback or not plan.steps:
                return plan, result, fidelity, told
            names, why = self._culprits(plan, result, verifier, given_up=len(told) >= _MOST_FALLBACKS)
            reason = f"the outputs were {fidelity.sqnr_db:.1f} dB close with it, expected {plan.recipe.min_sqnr_db:g} dB"
            plan = plan.without(*names, reason=reason)
            told.append(f"{why}: {reason}")

    def _culprits(
        self, plan: Plan, result: Quantized, verifier: Verifier, *, given_up: bool
    ) -> tuple[list[str], str]:
        worst = None
        if self.ranges is not None and not given_up:
            encodings = choose_encodings(plan, self.ranges, offsets=plan.recipe.offsets)
            worst = verifier.worst_step(plan, result.model, encodings)
        if worst is None:
            return [step.name for step in plan.steps], "everything left went back to float"
        return [worst.name], f"{worst.name} went back to float"

    def _made_fast(
        self, plan: Plan, result: Quantized, fidelity: Fidelity, verifier: Verifier
    ) -> tuple[Plan, Quantized, Fidelity, Speed, list[str]]:
        """Gives back regions, smallest first, while the 8-bit model is not faster than the float one."""
        speed = verifier.speed(result.model)
        told: list[str] = []
        while speed.speedup < 1 and plan.recipe.fallback and plan.steps:
            region = plan.regions[-1]
            reason = f"the model ran at {speed.speedup:.2f} times the float speed with it"
            smaller = plan.without(*(step.name for step in region), reason=reason)
            candidate = lower(self.source, smaller, self.ranges)
            faster = verifier.speed(candidate.model)
            if not smaller.steps or faster.speedup > speed.speedup:
                plan, result, speed = smaller, candidate, faster
                fidelity = verifier.fidelity(result.model)
                told.append(f"the region of {region[0].name} ({len(region)} ops) went back to float: {reason}")
                continue
            everything = [step.name for step in plan.steps]
            plan = plan.without(*everything, reason=reason)
            result = lower(self.source, plan, self.ranges)
            speed, fidelity = verifier.speed(result.model), verifier.fidelity(result.model)
            told.append(f"everything went back to float: {reason}")
        return plan, result, fidelity, speed, told

