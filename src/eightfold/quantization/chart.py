"""The model as a drawing: its 8-bit blocks, what is left in float, and which reads which."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from eightfold.graph.ir import Node
from eightfold.graph.model import Model
from eightfold.quantization.plan import Plan, Step

__all__ = ["Chart", "ChartNode", "Kind", "draw"]

Kind: TypeAlias = Literal["int8", "bf16", "fp32", "input", "output"]

_SHAPE_OF = {"Shape", "Size", "Rank"}
"""Ops whose results are no data any more."""
_CLEAR = 250
"""Nodes that can still be told apart; in a larger drawing, float nodes that touch are drawn as one."""


@dataclass(frozen=True)
class ChartNode:
    """One box of the drawing.

    Attributes:
        name: of the node that computes the result, or of an input or output.
        kind: what it computes in.
        op: the rewrite of a block, else the op.
        sources: the places in `Chart.nodes` of what it reads.
        also: further nodes drawn in the same box.
    """

    name: str
    kind: Kind
    op: str
    sources: tuple[int, ...]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A drawing without positions.

    Attributes:
        nodes: in the order of the graph.
    """

    nodes: tuple[ChartNode, ...]

    def pack(self) -> str:
        """The drawing as one short string: JSON, compressed by zlib, in base64."""
        rows = [[n.name, n.kind, n.op, n.sources, n.also] for n in self.nodes]
        return base64.b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 9)).decode()

    @classmethod
    def unpack(cls, text: str) -> Chart:
        """What `pack` wrote."""
        rows = json.loads(zlib.decompress(base64.b64decode(text)))
        return cls(tuple(ChartNode(name, kind, op, tuple(s), tuple(also)) for name, kind, op, s, also in rows))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Chart:
        """What `dataclasses.asdict` gave."""
        rows = ({**node, "sources": tuple(node["sources"]), "also": tuple(node["also"])} for node in values["nodes"])
        return cls(tuple(ChartNode(**row) for row in rows))


def draw(model: Model, plan: Plan) -> Chart:
    """Draws what a plan makes of a model: all that its default signature computes from data, but no shapes.

    Args:
        model: the exported float model that the plan was made for.
        plan: what becomes 8-bit.
    """
    steps = {step.name: step for step in (*plan.steps, *plan.bfloat16_steps)}
    owner = {name: step.name for step in steps.values() for name in step.match.nodes}
    boxes: list[ChartNode] = []
    place: dict[str, int] = {}
    for name, nodes in _grouped(model, owner):
        read = dict.fromkeys(owner.get(ref.node, ref.node) for node in nodes for ref in node.inputs)
        sources = tuple(place[source] for source in read if source in place)
        op = steps[name].rewrite.name if name in steps else model.graph[name].op
        place[name] = len(boxes)
        boxes.append(ChartNode(name, _kind(model.graph[name], plan, steps), op, sources))
    for key, spec in model.default.outputs.items():
        name = owner.get(spec.ref.node, spec.ref.node)
        if name in place:
            boxes.append(ChartNode(key, "output", "output", (place[name],)))
    chart = Chart(tuple(boxes))
    return chart if len(boxes) <= _CLEAR else _condensed(chart)


def _grouped(model: Model, owner: Mapping[str, str]) -> Iterator[tuple[str, list[Node]]]:
    """What the outputs need of the data, block by block: the node of the result, and all that belong to it.

    A block comes where its result does, after everything that any of its nodes reads.
    """
    wanted = model.graph.ancestors(spec.ref.node for spec in model.default.outputs.values())
    groups: dict[str, list[Node]] = {}
    for node in _data(model):
        if node.name in wanted:
            groups.setdefault(owner.get(node.name, node.name), []).append(node)
    yield from ((node.name, groups[node.name]) for node in model.graph if node.name in groups)


def _kind(node: Node, plan: Plan, steps: Mapping[str, Step]) -> Kind:
    if node.name in steps:
        return "bf16" if node.name in plan.bfloat16 else "int8"
    return "input" if node.op == "Placeholder" else "fp32"


def _data(model: Model) -> Iterable[Node]:
    """The inputs of the default signature and what is computed from their values."""
    known = {spec.ref.node for spec in model.default.inputs.values()}
    for node in model.graph:
        if node.op not in _SHAPE_OF and any(ref.node in known for ref in node.inputs):
            known.add(node.name)
        if node.name in known:
            yield node


def _condensed(chart: Chart) -> Chart:
    """Float nodes that touch, as one; only those with as many changes of kind before them, so that no cycle arises."""
    level: list[int] = []
    head: list[int] = []
    for place, node in enumerate(chart.nodes):
        level.append(max((level[s] + (_plain(chart.nodes[s]) != _plain(node)) for s in node.sources), default=0))
        head.append(place)
        for source in node.sources if _plain(node) else ():
            if _plain(chart.nodes[source]) and level[source] == level[place]:
                old, new = max(head[place], head[source]), min(head[place], head[source])
                head = [new if h == old else h for h in head]
    return _merged(chart, head)


def _plain(node: ChartNode) -> bool:
    return node.kind == "fp32"


def _merged(chart: Chart, head: list[int]) -> Chart:
    """The chart with each set of nodes of one head as one node, which stands where the last of them stood."""
    groups: dict[int, list[int]] = {}
    for place, first in enumerate(head):
        groups.setdefault(first, []).append(place)
    order = sorted(groups.values(), key=lambda group: group[-1])
    place_of = {place: index for index, group in enumerate(order) for place in group}
    nodes = []
    for index, group in enumerate(order):
        last = chart.nodes[group[-1]]
        read = {place_of[s] for place in group for s in chart.nodes[place].sources} - {index}
        also = tuple(chart.nodes[place].name for place in group[:-1])
        nodes.append(replace(last, sources=tuple(sorted(read)), also=also))
    return Chart(tuple(nodes))
