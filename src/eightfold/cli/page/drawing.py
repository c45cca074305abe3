"""What the page's scripts draw, as one JSON document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from eightfold.cli.explanation import without_scope
from eightfold.cli.screen import finite
from eightfold.quantization.analysis import Analysis, Distribution, StepStats, TensorStats
from eightfold.quantization.chart import ChartNode
from eightfold.quantization.explain import Explanation
from eightfold.quantization.report import StepRecord
from eightfold.quantization.search_record import SearchRecord

__all__ = ["drawing", "drawing_json"]

_NAME = re.compile(r"[\w./-]+")


def drawing_json(explanation: Explanation) -> str:
    """`drawing` as JSON that can stand inside a script element."""
    text = json.dumps(finite(drawing(explanation)), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def drawing(explanation: Explanation) -> dict[str, Any]:
    """The nodes of the graph, the figures of each block, and the search; empty where there are none."""
    analysis = explanation.analysis
    return {
        "nodes": _nodes(explanation),
        "blocks": [_block(block, explanation) for block in explanation.blocks],
        "breaks": [_named_in(sentence, explanation) for sentence in explanation.breaks],
        "samples": analysis.samples if analysis else 0,
        "search": _search(explanation.search, explanation.scope) if explanation.search else None,
    }


def _nodes(explanation: Explanation) -> list[dict[str, Any]]:
    if explanation.chart is None:
        return []
    blocks = {block.name: index for index, block in enumerate(explanation.blocks)}
    reasons = {refusal.node: refusal.reason for refusal in explanation.refusals}
    rest: Mapping[str, tuple[float, float]] = explanation.analysis.rest_ms if explanation.analysis else {}

    def node(box: ChartNode) -> dict[str, Any]:
        times = [rest[name] for name in (box.name, *box.also) if name in rest]
        return {
            "name": without_scope(box.name, explanation.scope),
            "kind": box.kind,
            "op": box.op,
            "sources": box.sources,
            "also": [without_scope(name, explanation.scope) for name in box.also],
            "block": blocks.get(box.name),
            "reason": without_scope(reasons.get(box.name, ""), explanation.scope),
            "ms": [sum(pair[0] for pair in times), sum(pair[1] for pair in times)] if times else None,
        }

    return [node(box) for box in explanation.chart.nodes]


def _named_in(sentence: str, explanation: Explanation) -> list[int]:
    """The boxes that a sentence names."""
    words = {word.rstrip(".") for word in _NAME.findall(sentence)}
    nodes = explanation.chart.nodes if explanation.chart else ()
    return [place for place, box in enumerate(nodes) if not words.isdisjoint((box.name, *box.also))]


def _block(block: StepRecord, explanation: Explanation) -> dict[str, Any]:
    facts = {
        "name": without_scope(block.name, explanation.scope),
        "rewrite": block.rewrite,
        "op": block.int8_op,
        "nodes": len(block.nodes),
    }
    analysis = explanation.analysis
    stats = analysis.steps.get(block.name) if analysis else None
    return facts if analysis is None or stats is None else {**facts, **_measured(stats, analysis, explanation)}


def _measured(stats: StepStats, analysis: Analysis, explanation: Explanation) -> dict[str, Any]:
    made = {step.gives for step in analysis.steps.values()}
    entering = [name for name in stats.reads if name not in made and name in analysis.tensors]
    return {
        "own": stats.own_db,
        "total": stats.total_db,
        "ms": [stats.float_ms, stats.int8_ms],
        "gives": _tensor(analysis.tensors[stats.gives]) if stats.gives in analysis.tensors else None,
        "reads": [
            {"name": without_scope(name, explanation.scope), **_tensor(analysis.tensors[name])} for name in entering
        ],
        "weight": {**asdict(stats.weight), "values": _distribution(stats.weight.values)} if stats.weight else None,
    }


def _tensor(tensor: TensorStats) -> dict[str, Any]:
    return {**asdict(tensor), "values": _distribution(tensor.values)}


def _distribution(values: Distribution) -> dict[str, Any]:
    return {"lo": values.lo, "hi": values.hi, "counts": [round(count) for count in values.counts]}


def _search(search: SearchRecord, scope: str) -> dict[str, Any]:
    """The ranking and the trials; what a trial changed, in words."""
    return {
        "metric": search.metric,
        "float": search.float_value,
        "target": search.float_value - search.max_drop,
        "ranking": [{**asdict(entry), "name": without_scope(entry.name, scope)} for entry in search.ranking],
        "trials": [
            {
                "value": trial.value,
                "speedup": trial.speedup,
                "chosen": trial.key == search.chosen,
                "what": _in_words(trial.changes, trial.fp32, trial.bf16),
            }
            for trial in search.trials
        ],
    }


def _in_words(changes: Mapping[str, Any], fp32: Iterable[str], bf16: Iterable[str]) -> str:
    said = [f"{key} = {value}" for key, value in changes.items()]
    said += [f"{len(names)} in {kind}" for kind, names in (("fp32", list(fp32)), ("bf16", list(bf16))) if names]
    return ", ".join(said) or "as asked for"
