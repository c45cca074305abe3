"""Cuts the run of a graph into stages, so that what one stage finds can change what the next one computes.

    x ─ conv1 ─ conv2 ─ conv3          targets [x], [conv1], [conv2]
    └──0──┘└──1──┘└──2──┘              stage 1 is fed x and fetches conv1; conv3 is never run

Nodes run once: a tensor that a later stage reads is fetched by the stage that computes it, and fed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eightfold.graph.ir import Graph, Ref

__all__ = ["Stage", "by_depth", "stages"]


@dataclass(frozen=True)
class Stage:
    """What is run at once.

    Attributes:
        nodes: the nodes computed now.
        feeds: the tensors of earlier stages that these read.
        fetches: the tensors among them that are a target, or read by a later stage.
        keeps: all tensors, old and new, that are wanted after this stage.
    """

    nodes: frozenset[str]
    feeds: tuple[Ref, ...]
    fetches: tuple[Ref, ...]
    keeps: frozenset[Ref]


def by_depth(graph: Graph, names: Collection[str]) -> list[list[str]]:
    """Some nodes in groups: each node comes after all others that it depends on, in the earliest group possible."""
    depth: dict[str, int] = {}
    groups: list[list[str]] = []
    for node in graph:
        depth[node.name] = max((depth.get(ref.node, 0) for ref in node.inputs), default=0)
        if node.name in names:
            if depth[node.name] == len(groups):
                groups.append([])
            groups[depth[node.name]].append(node.name)
            depth[node.name] += 1
    return groups


def stages(
    graph: Graph, given: Collection[Ref], targets: Sequence[Iterable[Ref]], loose: Collection[str] = ()
) -> list[Stage]:
    """One stage for each group of targets: it computes what these need and no stage before it has computed.

    Args:
        graph: without control inputs among the nodes that the targets need.
        given: the tensors fed by the caller. What depends on none of them, such as constants, belongs to no stage.
        targets: the tensors wanted, group by group.
        loose: nodes whose results cannot be fetched and fed; they belong to no stage, and run in each that needs them.
    """
    groups = [tuple(group) for group in targets]
    place = {ref.node: -1 for ref in given}
    varying = _reached(graph, place).difference(loose)
    for index, group in enumerate(groups):
        wanted = {ref.node for ref in group}
        for name in wanted | graph.ancestors(wanted) & varying:
            place.setdefault(name, index)
    reads = [_reads(graph, place, index) for index in range(len(groups))]
    last_use: dict[Ref, int] = {}
    for index, group in enumerate(groups):
        last_use.update((ref, index) for ref in (*reads[index], *group))
    return [
        Stage(
            nodes=frozenset(name for name, at in place.items() if at == index),
            feeds=reads[index],
            fetches=tuple(ref for ref in last_use if place[ref.node] == index),
            keeps=frozenset(ref for ref, last in last_use.items() if place[ref.node] <= index < last),
        )
        for index in range(len(groups))
    ]


def _reached(graph: Graph, sources: Iterable[str]) -> set[str]:
    """The sources and every node that depends on one of them."""
    reached = set(sources)
    for node in graph:
        if any(ref.node in reached for ref in node.inputs):
            reached.add(node.name)
    return reached


def _reads(graph: Graph, place: Mapping[str, int], index: int) -> tuple[Ref, ...]:
    """The tensors of earlier stages that the nodes of a stage read, or nodes without a stage read for them."""
    found: dict[Ref, None] = {}
    waiting = [name for name, at in place.items() if at == index]
    seen = set(waiting)
    while waiting:
        for ref in graph[waiting.pop()].inputs:
            if ref.node not in place and ref.node not in seen:
                seen.add(ref.node)
                waiting.append(ref.node)
            elif place.get(ref.node, index) < index:
                found[ref] = None
    return tuple(found)
