"""Step 3b: writes the 8-bit graph of a plan, its ranges frozen in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from eightfold.graph.encoding import Encoding
from eightfold.graph.ir import DType, Node, Ref
from eightfold.graph.model import Model, Signature
from eightfold.graph.ranges import Range
from eightfold.passes.bfloat16 import to_bfloat16
from eightfold.passes.summands import compute_summands_late, protect_summands
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.plan import Plan
from eightfold.rewrites.builder import Builder, WeightForm
from eightfold.rewrites.correction import Corrections

__all__ = ["lower_plan"]

_SHAPE_OPS = {"Shape", "Size", "Rank"}


def lower_plan(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range],
    *,
    weight_bits: int = 8,
    corrections: Corrections | None = None,
) -> Model:
    """The model with every step of the plan in 8 bits, or in bfloat16 where it says so, and all else as it was.

    Args:
        model: the exported float model that the plan was made for.
        plan: what becomes 8-bit.
        ranges: the range of each of `plan.tensors`.
        weight_bits: 8, or 7 for CPUs whose 8-bit sums saturate.
        corrections: from `correct`.
    """
    encodings = choose_encodings(plan, ranges, offsets=plan.recipe.offsets)
    return write(model, plan, encodings, weight_bits, corrections)


def write(
    model: Model,
    plan: Plan,
    encodings: Mapping[Ref, Encoding],
    weight_bits: int,
    corrections: Corrections | None = None,
) -> Model:
    """The model for given encodings."""
    steps = {step.name: step for step in plan.steps}
    consumed = {name for step in plan.steps for name in step.match.nodes}

    def weight_form(node: str) -> WeightForm:
        settings = plan.recipe.settings_for(node, model.graph[node].op)
        return WeightForm(weight_bits, settings.per_channel)

    reserved = {node.name for node in model.graph if node.name not in consumed}
    builder = Builder(model.graph, encodings, plan.facts.shape, reserved, weight_form, corrections)
    for node in model.graph:
        if node.name in steps:
            steps[node.name].rewrite.emit(builder, steps[node.name].match)
        elif node.op in _SHAPE_OPS:
            _copy_shape_op(builder, node)
        elif node.name not in consumed:
            builder.copy(node)
    signatures = {name: _signature(s, builder) for name, s in model.signatures.items()}
    written = to_bfloat16(model.but(graph=builder.graph(), signatures=signatures).pruned(), plan.bfloat16)
    return compute_summands_late(protect_summands(written))


def _copy_shape_op(builder: Builder, node: Node) -> None:
    """A shape can be read off the codes: no float tensor is needed for it."""
    ref, dtype = builder.any_form(node.inputs[0])
    attrs = {**node.attrs, "T": dtype or DType(node.attrs["T"])}
    builder.put(node.but(inputs=(ref,), attrs=attrs))


def _signature(signature: Signature, builder: Builder) -> Signature:
    outputs = {key: replace(spec, ref=builder.real(spec.ref)) for key, spec in signature.outputs.items()}
    return signature.but(outputs=outputs)
