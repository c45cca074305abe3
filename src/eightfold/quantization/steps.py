"""The public steps: plan, lower, and quantize, which runs them all and verifies the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eightfold.data import Dataset
from eightfold.errors import DataError
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.calibrate import calibrate, open_data
from eightfold.quantization.dynamic import dynamic_plan, lower_dynamic
from eightfold.quantization.export import Progress, export
from eightfold.quantization.fallback import Fallback
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.summary import summarize
from eightfold.quantization.verify import Verifier
from eightfold.tf.cpu import require_int8_kernels, weight_bits
from eightfold.tf.frames import sometimes_run
from eightfold.tf.session import infer

__all__ = ["lower", "plan", "quantize"]

_HELD_BACK = 64
"""Examples kept from calibration for the verification, at most; and at most a fifth of the data."""


def plan(model: Model, recipe: Recipe | None = None) -> Plan:
    """Decides which nodes of an exported model become which 8-bit op. No data is needed and nothing is written.

    Args:
        model: from `export`.
        recipe: what is wanted; the defaults when left out.

    Returns:
        The steps chosen, and the reason for every node that stays in float. A node that only another signature than
        the default one computes stays in float: data for it is never seen.

    Raises:
        ModelError: TensorFlow does not accept the graph.
    """
    chosen = make_plan(model, infer(model.graph), recipe or Recipe())
    chosen = _without(chosen, _unseen(model), f"only other signatures than {model.default.name!r} compute it")
    return _without(chosen, sometimes_run(model.graph), "it is in a loop or branch, where no range can be observed")


def _without(plan: Plan, nodes: set[str], reason: str) -> Plan:
    """The plan without the steps that hold or read one of the nodes."""
    names = [step.name for step in plan.steps if nodes & {*step.match.nodes, *(ref.node for ref, _ in step.reads)}]
    return plan.without(*names, reason=reason) if names else plan


def _unseen(model: Model) -> set[str]:
    """The nodes that depend on inputs of other signatures than the default one."""
    known = {spec.ref.node for spec in model.default.inputs.values()}
    unseen = {ref.node for ref in model.inputs} - known
    for node in model.graph:
        if any(ref.node in unseen for ref in node.inputs):
            unseen.add(node.name)
    return unseen


def lower(model: Model, plan: Plan, ranges: Mapping[Ref, Range] | None = None) -> Quantized:
    """Writes the 8-bit graph of a plan.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit; `plan.without(...)` gives nodes back without a new calibration.
        ranges: from `calibrate`. Without them the graph computes its ranges while it runs.

    Returns:
        The 8-bit model, not verified: its report says nothing of closeness or speed.

    Raises:
        PlatformError: this TensorFlow has no 8-bit kernels.
        DataError: a range that the plan needs is missing.
    """
    require_int8_kernels()
    bits = plan.recipe.weight_bits or weight_bits()
    if ranges is None:
        plan = dynamic_plan(plan)
        written = lower_dynamic(model, plan, weight_bits=bits)
    else:
        missing = [str(ref) for ref in plan.tensors if ref not in ranges]
        if missing:
            raise DataError(f"the ranges lack {missing[0]} and {len(missing) - 1} more; calibrate with this plan")
        written = lower_plan(model, plan, ranges, weight_bits=bits)
    report = summarize(model, written, plan, dynamic=ranges is None, weight_bits=bits)
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
    tell = progress or (lambda *_: None)
    exported = export(model, inputs=inputs, outputs=outputs, progress=progress)
    chosen = plan(exported, recipe)
    if data is None:
        return lower(exported, chosen)
    dataset = open_data(exported, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
    used, held, count, separate = _divided(dataset)
    ranges = None if dynamic else calibrate(exported, chosen, used, batch_size=batch_size, progress=progress)
    if verify:
        verifier = Verifier(exported, held, separate, dataset.batch_size)
        result = _verified(exported, chosen, ranges, verifier, tell)
    else:
        result = lower(exported, chosen, ranges)
    report = replace(
        result.report,
        calibration_samples=0 if dynamic else count,
        notes=(*result.report.notes, *dataset.notes),
    )
    return replace(result, report=report)


def _divided(dataset: Dataset) -> tuple[Dataset, Dataset, int, bool]:
    """What to calibrate with, what to verify with, the size of the first, and whether the two are disjoint."""
    size = dataset.size if dataset.size is not None else sum(batch.size for batch in dataset)
    holdout = min(_HELD_BACK, size // 5)
    if dataset.exact:  # both parts need full batches
        holdout = max(holdout // dataset.batch_size, 1) * dataset.batch_size
    if holdout == 0 or (dataset.exact and size < 2 * dataset.batch_size):
        return dataset, dataset, size, False
    rest, held = dataset.split(holdout)
    return rest, held, size - holdout if rest.size is None else rest.size, True


def _verified(
    exported: Model, chosen: Plan, ranges: Mapping[Ref, Range] | None, verifier: Verifier, tell: Progress
) -> Quantized:
    """The fastest model of a plan that is right, with what was measured in its report."""
    fallback = Fallback(exported, ranges, verifier, lower)
    tell("verify", 0, 2)
    candidate = fallback.right(chosen)
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
