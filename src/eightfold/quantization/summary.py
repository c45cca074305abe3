"""From a plan and the graph written for it to the report."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

import eightfold
from eightfold.graph.ir import Graph
from eightfold.graph.model import Model
from eightfold.quantization.chart import draw
from eightfold.quantization.flow import flow_breaks
from eightfold.quantization.plan import Plan
from eightfold.quantization.report import Report, StepRecord
from eightfold.system.instructions import instruction_set

__all__ = ["summarize"]

_INT8_KERNELS = ("_FusedQuantized", "QuantizedConv2D", "QuantizedDepthwise", "QuantizedMatMul", "_QuantizedMatMul")
_NEEDS_217 = "_QuantizedMatMul"


def summarize(
    source: Model,
    written: Model,
    plan: Plan,
    *,
    dynamic: bool,
    weight_bits: int,
) -> Report:
    """The report of a lowering, before verification."""
    ops = {node.op for node in written.graph}
    return Report(
        origin=source.origin,
        mode="dynamic" if dynamic else "calibrated",
        recipe=plan.recipe.to_dict(),
        steps=tuple(
            StepRecord(step.name, step.rewrite.name, step.rewrite.int8_op, step.match.nodes) for step in plan.steps
        ),
        refusals=tuple((refusal.node, refusal.op, refusal.reason) for refusal in plan.refusals),
        regions=tuple(len(region) for region in plan.regions),
        breaks=flow_breaks(plan),
        float_bytes=_constant_bytes(source.graph),
        int8_bytes=_constant_bytes(written.graph),
        requires_tensorflow="2.17" if _NEEDS_217 in ops else "2.16",
        versions={
            "eightfold": eightfold.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        weight_bits=weight_bits,
        bfloat16=tuple(step.name for step in plan.bfloat16_steps),
        chart=draw(source, plan),
        notes=(
            *source.notes,
            *_already(source.graph),
            *_notes(written.graph),
            *_unused(plan),
            *_cpu_notes(plan, weight_bits),
        ),
    )


def _already(graph: Graph) -> tuple[str, ...]:
    found = next((node for node in graph if node.op.startswith(_INT8_KERNELS)), None)
    if found is None:
        return ()
    return (f"the model has 8-bit ops already ({found.name}, {found.op}); was the float model meant?",)


def _unused(plan: Plan) -> tuple[str, ...]:
    """A name that nothing has is most likely misspelt."""
    names = [node.name for node in plan.graph]
    patterns = [("exclude", pattern) for pattern in plan.recipe.exclude]
    patterns += [("override match", override.match) for override in plan.recipe.overrides if override.match]
    missing = [(key, pattern) for key, pattern in patterns if not any(re.search(pattern, name) for name in names)]
    return tuple(f"the recipe's {key} = {pattern!r} finds no node of the model" for key, pattern in missing)


def _notes(graph: Graph) -> tuple[str, ...]:
    drawing = next((node for node in graph if "Random" in node.op), None)
    if drawing is None:
        return ()
    return (
        f"the model draws random numbers ({drawing.name}, {drawing.op}): Keras exports layers that augment pictures "
        "so, unless they are called with training=False",
    )


def _cpu_notes(plan: Plan, weight_bits: int) -> Iterator[str]:
    """What of the model is due to the CPU, or asks for one."""
    here = instruction_set()
    if weight_bits == here.weight_bits == 7:
        yield here.meaning
    elif weight_bits > here.weight_bits:
        yield f"the recipe asks for weights of {weight_bits} bits, but {here.meaning}; results may be far off"
    if count := len(plan.bfloat16_steps):
        what = "1 op is" if count == 1 else f"{count} ops are"
        yield f"{what} computed in bfloat16: slower than float32 on CPUs without AVX512_BF16 or AMX"


def _constant_bytes(graph: Graph) -> int:
    return sum(node.value.nbytes for node in graph if node.op == "Const")
