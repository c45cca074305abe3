"""What became 8-bit, what did not and why, and where the 8-bit flow breaks, as values to be shown."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eightfold.errors import RecipeError
from eightfold.graph.ir import Graph, Node
from eightfold.graph.model import Model
from eightfold.graph.text import format_graph
from eightfold.quantization.plan import Plan, Refusal, Step
from eightfold.quantization.report import Report, StepRecord

__all__ = ["Explanation", "Kind", "Reason", "explain_plan", "explain_report", "flow_breaks", "step_records"]

_SHAPE_ONLY = {"Const", "Placeholder", "Shape", "Size", "Rank", "NoOp"}
"""Ops that read no float tensor in full, and so break no flow."""
_NAMED = 3
"""Nodes named in a sentence; of more, only the number is given."""


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
    """

    origin: str
    mode: str
    blocks: tuple[StepRecord, ...]
    refusals: tuple[Refusal, ...]
    regions: tuple[int, ...]
    breaks: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
            reason = refusal.reason.replace(refusal.node, "it")
            groups.setdefault((refusal.op, reason), []).append(refusal.node)
        ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
        return tuple(Reason(op, reason, tuple(nodes)) for (op, reason), nodes in ordered)

    def find(self, name: str) -> StepRecord | Refusal:
        """The block that a node of the float graph is in, or the reason why it is in none.

        Raises:
            RecipeError: there is no such node; names the nearest.
        """
        for block in self.blocks:
            if name == block.name or name in block.nodes:
                return block
        for refusal in self.refusals:
            if name == refusal.node:
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
        mode="calibrated" if calibrated else "planned",
        blocks=step_records(plan, dynamic, calibrated),
        refusals=plan.refusals,
        regions=tuple(len(region) for region in plan.regions),
        breaks=flow_breaks(plan),
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
    )


def step_records(
    plan: Plan, dynamic: Graph | None = None, calibrated: Graph | None = None
) -> tuple[StepRecord, ...]:
    """The steps of a plan, each with the text of its block in the graphs that there are."""
    roots = {step.name for step in plan.steps}

    def text(graph: Graph | None, step: Step) -> str:
        if graph is None:
            return ""
        return format_graph(graph, _written_for(step, graph, plan.graph, roots), constants="inline")

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


def _written_for(step: Step, graph: Graph, source: Graph, roots: set[str]) -> set[str]:
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
    return [
        node.name
        for node in graph
        if node.name.startswith((f"{name}/", f"{name}_")) and node.name not in source
    ]


# --- where the flow breaks ------------------------------------------------------------


def flow_breaks(plan: Plan) -> tuple[str, ...]:
    """Where numbers leave 8 bits between two 8-bit blocks: one sentence each, in topological order."""
    step_of = {name: step for step in plan.steps for name in step.match.nodes}
    readers: dict[str, list[Step]] = {}
    for step in plan.steps:
        for ref, _ in step.reads:
            readers.setdefault(ref.node, []).append(step)
    reasons = {refusal.node: refusal.reason for refusal in plan.refusals}
    sentences = [_gap(plan.graph, piece, step_of, readers, reasons) for piece in _float_pieces(plan, step_of)]
    direct = (_float_result(step, readers.get(step.name, [])) for step in plan.steps if not step.gives)
    return tuple(sentence for sentence in (*sentences, *direct) if sentence)


def _float_pieces(plan: Plan, step_of: Mapping[str, Step]) -> Iterator[list[Node]]:
    """Connected sets of the nodes that stay in float and read or write float tensors."""
    piece_of: dict[str, list[Node]] = {}
    for node in plan.graph:
        if node.name in step_of or node.op in _SHAPE_ONLY or not _is_float(plan, node):
            continue
        joined = [node]
        for source in {ref.node for ref in node.inputs if ref.node in piece_of}:
            if piece_of[source] is not joined:
                joined = [*piece_of[source], *joined]
                for member in joined:
                    piece_of[member.name] = joined
        piece_of[node.name] = joined
    yield from {id(piece): piece for piece in piece_of.values()}.values()


def _is_float(plan: Plan, node: Node) -> bool:
    facts = plan.facts.tensors.get(node.ref)
    return facts is not None and facts[0] == "float32"


def _gap(
    graph: Graph,
    piece: list[Node],
    step_of: Mapping[str, Step],
    readers: Mapping[str, list[Step]],
    reasons: Mapping[str, str],
) -> str | None:
    """A piece of float nodes as a sentence, if it has 8-bit blocks on both sides."""
    before = {ref.node for node in piece for ref in node.inputs if ref.node in step_of}
    after = {step.name for node in piece for step in readers.get(node.name, ())}
    if not before or not after:
        return None
    ordered = sorted(piece, key=lambda node: graph.position[node.name])
    why = [f"{node.op} {node.name} ({reasons.get(node.name, 'not planned')})" for node in ordered]
    return f"between {_some(sorted(before))} and {_some(sorted(after))}: {_some(why)} in float"


def _float_result(step: Step, readers: Iterable[Step]) -> str | None:
    after = sorted({reader.name for reader in readers})
    return f"between {step.name} and {_some(after)}: {step.rewrite.int8_op} gives float" if after else None


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
