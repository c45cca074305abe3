"""The public steps that need no data: plan and lower."""

from __future__ import annotations

from collections.abc import Mapping

from eightfold.errors import DataError
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.dynamic import dynamic_plan, lower_dynamic
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.summary import summarize
from eightfold.rewrites.correction import Corrections
from eightfold.system.instructions import require_bfloat16, weight_bits
from eightfold.tf.cpu import require_int8_kernels
from eightfold.tf.frames import sometimes_run
from eightfold.tf.session import infer

__all__ = ["lower", "plan"]


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
    steps = (*plan.steps, *plan.bfloat16_steps)
    names = [step.name for step in steps if nodes & {*step.match.nodes, *(ref.node for ref, _ in step.reads)}]
    return plan.without(*names, reason=reason) if names else plan


def _unseen(model: Model) -> set[str]:
    """The nodes that depend on inputs of other signatures than the default one."""
    known = {spec.ref.node for spec in model.default.inputs.values()}
    unseen = {ref.node for ref in model.inputs} - known
    for node in model.graph:
        if any(ref.node in unseen for ref in node.inputs):
            unseen.add(node.name)
    return unseen


def lower(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range] | None = None,
    corrections: Corrections | None = None,
) -> Quantized:
    """Writes the 8-bit graph of a plan.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit; `plan.without(...)` gives nodes back without a new calibration.
        ranges: from `calibrate`. Without them the graph computes its ranges while it runs.
        corrections: from `correct`; what they say of steps that the plan no longer has is left aside.

    Returns:
        The 8-bit model, not verified: its report says nothing of closeness or speed.

    Raises:
        PlatformError: this TensorFlow has no 8-bit kernels, or this CPU no bfloat16 and the plan asks for it.
        DataError: a range that the plan needs is missing.
    """
    require_int8_kernels()
    if plan.bfloat16_steps:
        require_bfloat16()
    bits = plan.recipe.weight_bits or weight_bits()
    if ranges is None:
        plan = dynamic_plan(plan)
        written = lower_dynamic(model, plan, weight_bits=bits)
    else:
        missing = [str(ref) for ref in plan.tensors if ref not in ranges]
        if missing:
            raise DataError(f"the ranges lack {missing[0]} and {len(missing) - 1} more; calibrate with this plan")
        written = lower_plan(model, plan, ranges, weight_bits=bits, corrections=corrections)
    report = summarize(model, written, plan, dynamic=ranges is None, weight_bits=bits)
    return Quantized(written, model, plan, ranges, report, corrections or {})
