"""Where the flow of 8-bit data through a model breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from eightfold.graph.ir import Graph, Node
from eightfold.quantization.plan import Plan, Step

__all__ = ["flow_breaks"]

_SHAPE_ONLY = {"Const", "Placeholder", "Shape", "Size", "Rank", "NoOp"}
"""Ops that read no float tensor in full, and so break no flow."""
_NAMED = 3
"""Nodes named in a sentence; of more, only the number is given."""


def flow_breaks(plan: Plan) -> tuple[str, ...]:
    """Where numbers leave 8 bits between two 8-bit blocks: one sentence each, in topological order."""
    step_of = {name: step for step in plan.steps for name in step.match.nodes}
    readers: dict[str, list[Step]] = {}
    for step in plan.steps:
        for ref, _ in step.reads:
            readers.setdefault(ref.node, []).append(step)
    reasons = {refusal.node: refusal.reason for refusal in plan.refusals}
    for step in (*plan.given_back, *plan.bfloat16_steps):
        reasons.update(dict.fromkeys(step.match.nodes, reasons[step.name]))
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
    why = [f"{node.name} ({node.op}), {reasons.get(node.name, 'not planned')}" for node in ordered]
    return f"between {_some(sorted(before))} and {_some(sorted(after))}: {_some(why, '; ')}"


def _float_result(step: Step, readers: Iterable[Step]) -> str | None:
    after = sorted({reader.name for reader in readers})
    return f"between {step.name} and {_some(after)}: {step.rewrite.int8_op} gives float" if after else None


def _some(parts: list[str], between: str = ", ") -> str:
    more = len(parts) - _NAMED
    return between.join(parts[:_NAMED]) + (f"{between}and {more} more" if more > 0 else "")
