"""From a plan and the graph written for it to the report."""

from __future__ import annotations

import platform
from dataclasses import asdict

import numpy as np
import tensorflow as tf

import eightfold
from eightfold.graph.ir import Graph
from eightfold.graph.model import Model
from eightfold.quantization.flow import flow_breaks
from eightfold.quantization.plan import Plan
from eightfold.quantization.report import Report, StepRecord

__all__ = ["summarize"]

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
        recipe=asdict(plan.recipe),
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
        notes=(*source.notes, *_notes(written.graph)),
    )


def _notes(graph: Graph) -> tuple[str, ...]:
    drawing = next((node for node in graph if "Random" in node.op), None)
    if drawing is None:
        return ()
    return (
        f"the model draws random numbers ({drawing.name}, {drawing.op}): Keras exports layers that augment pictures "
        "so, unless they are called with training=False",
    )


def _constant_bytes(graph: Graph) -> int:
    return sum(node.value.nbytes for node in graph if node.op == "Const")
