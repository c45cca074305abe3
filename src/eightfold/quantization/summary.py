"""From a plan and the graph written for it to the report."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import tensorflow as tf

import eightfold
from eightfold.graph.ir import Graph, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.plan import Plan
from eightfold.quantization.report import Report, StepRecord

__all__ = ["flow_breaks", "summarize"]

_NEEDS_217 = "_QuantizedMatMul"


def summarize(
    source: Model,
    written: Model,
    plan: Plan,
    *,
    dynamic: bool,
    weight_bits: int,
    ranges: Mapping[Ref, Range] | None,
) -> Report:
    """The report of a lowering, before verification."""
    del ranges
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
        breaks=flow_breaks(written.graph),
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
    )


def _constant_bytes(graph: Graph) -> int:
    return sum(node.value.nbytes for node in graph if node.op == "Const")


def flow_breaks(graph: Graph) -> tuple[str, ...]:
    """The float nodes through which 8-bit data leaves the flow and comes back, in order.

    A break is a float node that has a Dequantize among its ancestors and a QuantizeV2 among its descendants; of a
    chain of such nodes the first is named.
    """
    left, breaks = set(), []
    returning = _feeding_quantize(graph)
    for node in graph:
        from_codes = any(graph[ref].op == "Dequantize" for ref in node.inputs)
        if node.op != "Dequantize" and (from_codes or any(ref.node in left for ref in node.inputs)):
            if node.op == "QuantizeV2":
                continue
            left.add(node.name)
            if from_codes and node.name in returning:
                breaks.append(f"{node.name} ({node.op})")
    return tuple(breaks)


def _feeding_quantize(graph: Graph) -> set[str]:
    """The nodes from which some QuantizeV2 is reached without passing 8-bit data."""
    feeding: set[str] = set()
    for node in reversed(list(graph)):
        for ref in node.inputs:
            if node.op == "QuantizeV2" or node.name in feeding:
                feeding.add(ref.node)
    return feeding
