"""What became 8-bit, what did not and why, and where the 8-bit flow breaks, as values to be shown."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from eightfold.errors import RecipeError
from eightfold.graph.ir import Graph
from eightfold.graph.model import Model
from eightfold.graph.text import format_graph
from eightfold.quantization.analysis import Analysis
from eightfold.quantization.chart import Chart, draw
from eightfold.quantization.flow import flow_breaks
from eightfold.quantization.plan import Plan, Refusal, Step
from eightfold.quantization.report import Fidelity, Report, Speed, StepRecord
from eightfold.quantization.search_record import SearchRecord

__all__ = ["Explanation", "Kind", "Reason", "explain_plan", "explain_report", "step_records", "written_for"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Blocks of one kind: the rewrite that makes them, the op that does the work, and how many there are."""

    rewrite: str
    int8_op: str
    blocks: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Nodes of one op that stay in float for one reason."""

    op: str
    reason: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A quantized or planned model, explained.

    Attributes:
        origin: the model.
        mode: `planned` for a float model that is only looked at, else how it was quantized.
        blocks: what is in 8 bits; each with the text of its float, 8-bit dynamic and 8-bit calibrated graph,
            as far as these are known.
        refusals: what stays in float.
        regions: blocks in each connected 8-bit piece, largest first.
        breaks: sentences that say between which blocks numbers go through float, and why.
        fallbacks: what verification gave back to float.
        notes: anything else.
        fidelity, speed, search, float_bytes, int8_bytes: as in the report.
        chart: the model as a drawing; `None` where the report has none.
        analysis: where the error is made and the time goes; `None` where nobody has looked.
    """

    origin: str
    mode: str
    blocks: tuple[StepRecord, ...]
    refusals: tuple[Refusal, ...]
    regions: tuple[int, ...]
    breaks: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fidelity: Fidelity | None = None
    speed: tuple[Speed, ...] = ()
    search: SearchRecord | None = None
    float_bytes: int = 0
    int8_bytes: int = 0
    chart: Chart | None = None
    analysis: Analysis | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The blocks by kind, most frequent first."""
        counts = Counter((block.rewrite, block.int8_op) for block in self.blocks)
        return tuple(Kind(rewrite, op, count) for (rewrite, op), count in counts.most_common())

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The refusals by op and reason, most frequent first."""
        groups: dict[tuple[str, str], list[str]] = {}
        for refusal in self.refusals:
            reason = re.sub(rf"(?<![\w/.-]){re.escape(refusal.node)}(?![\w/.-])", "it", refusal.reason)
            groups.setdefault((refusal.op, reason), []).append(refusal.node)
        ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
        return tuple(Reason(op, reason, tuple(nodes)) for (op, reason), nodes in ordered)

    @property
    def scope(self) -> str:
        """What all names begin with, a slash at its end; pages leave it out."""
        names = [*(block.name for block in self.blocks), *(refusal.node for refusal in self.refusals)]
        parts = [name.split("/")[:-1] for name in names]
        same = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
        return "/".join(level[0] for level in same) + "/"

    def find(self, name: str) -> StepRecord | Refusal:
        """The block that a node of the float graph is in, or the reason why it is in none.

        Args:
            name: of the node; may lack `scope`.

        Raises:
            RecipeError: there is no such node; names the nearest.
        """
        names = (name, self.scope + name)
        for block in self.blocks:
            if not {block.name, *block.nodes}.isdisjoint(names):
                return block
        for refusal in self.refusals:
            if refusal.node in names:
                return refusal
        known = [*(node for block in self.blocks for node in block.nodes), *(r.node for r in self.refusals)]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"the model has no computing node {name!r}{hint}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        groups = {"kinds": [asdict(k) for k in self.kinds], "reasons": [asdict(r) for r in self.reasons]}
        return {**asdict(self), **groups}


def explain_plan(
    model: Model, plan: Plan, dynamic: Graph | None = None, calibrated: Graph | None = None
) -> Explanation:
    """Explains what a plan does to a float model.

    Args:
        model: the exported float model that the plan was made for.
        plan: what becomes 8-bit.
        dynamic: the 8-bit graph whose ranges are computed while it runs, where there is one.
        calibrated: the 8-bit graph with its ranges frozen in, where there is one.
    """
    return Explanation(
        origin=model.origin,
        mode="planned",
        blocks=step_records(plan, dynamic, calibrated),
        refusals=plan.refusals,
        regions=tuple(len(region) for region in plan.regions),
        breaks=flow_breaks(plan),
        chart=draw(model, plan),
    )


def explain_report(report: Report) -> Explanation:
    """Explains a quantized model by the report that it carries."""
    return Explanation(
        origin=report.origin,
        mode=report.mode,
        blocks=report.steps,
        refusals=tuple(Refusal(*refusal) for refusal in report.refusals),
        regions=report.regions,
        breaks=report.breaks,
        fallbacks=report.fallbacks,
        notes=report.notes,
        fidelity=report.fidelity,
        speed=report.speed,
        search=report.search,
        float_bytes=report.float_bytes,
        int8_bytes=report.int8_bytes,
        chart=report.chart,
        analysis=report.analysis,
    )


def step_records(plan: Plan, dynamic: Graph | None = None, calibrated: Graph | None = None) -> tuple[StepRecord, ...]:
    """The steps of a plan, each with the text of its block in the graphs that there are."""
    roots = {step.name for step in plan.steps}

    def text(graph: Graph | None, step: Step) -> str:
        if graph is None:
            return ""
        return format_graph(graph, written_for(step, graph, plan.graph, roots), constants="inline")

    return tuple(
        StepRecord(
            name=step.name,
            rewrite=step.rewrite.name,
            int8_op=step.rewrite.int8_op,
            nodes=step.match.nodes,
            float_text=format_graph(plan.graph, step.match.nodes, constants="inline"),
            dynamic_text=text(dynamic, step),
            int8_text=text(calibrated, step),
        )
        for step in plan.steps
    )


def written_for(step: Step, graph: Graph, source: Graph, roots: set[str]) -> set[str]:
    """The nodes of an 8-bit graph that were written for a step: back from its result to other results."""
    stack = [step.name] if step.name in graph else _named_after(step.name, graph, source)
    own = set(step.match.nodes)
    found: set[str] = set()
    while stack:
        name = stack.pop()
        if name in found:
            continue
        found.add(name)
        for ref in graph[name].inputs:
            foreign = ref.node not in own and (ref.node in roots or ref.node in source)
            if not foreign and graph[ref].op != "Const":
                stack.append(ref.node)
    return found


def _named_after(name: str, graph: Graph, source: Graph) -> list[str]:
    """Where the result has another name than the float node, the nodes whose names begin with it."""
    return [node.name for node in graph if node.name.startswith((f"{name}/", f"{name}_")) and node.name not in source]
