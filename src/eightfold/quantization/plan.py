"""Step 2: which nodes become which 8-bit op. Nothing is written and no data is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Miss, matches
from eightfold.quantization.recipe import Recipe
from eightfold.rewrites import REWRITES
from eightfold.rewrites.rewrite import Facts, Rewrite

__all__ = ["Plan", "Refusal", "Step", "make_plan"]

_SILENT = {"Const", "Placeholder", "NoOp", "Shape", "Size", "Rank"}
"""Ops of which nobody expects an 8-bit form."""


@dataclass(frozen=True)
class Step:
    """One 8-bit op to be: a rewrite and the place where it applies."""

    rewrite: Rewrite
    match: Match

    @property
    def name(self) -> str:
        """The node that computes the result."""
        return self.match.root.node

    @cached_property
    def reads(self) -> tuple[tuple[Ref, Code], ...]:
        return self.rewrite.reads(self.match)

    @cached_property
    def gives(self) -> Code:
        return self.rewrite.gives(self.match)


@dataclass(frozen=True)
class Refusal:
    """A node that stays in float, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The steps chosen, in topological order, and what was refused.

    Attributes:
        graph: the float graph that it is for.
        steps: what becomes 8-bit.
        refusals: what does not, with the reason in words.
        facts: dtypes and shapes of the float graph.
        recipe: what the user asked for.
    """

    graph: Graph
    steps: tuple[Step, ...]
    refusals: tuple[Refusal, ...]
    facts: Facts
    recipe: Recipe

    @cached_property
    def producers(self) -> Mapping[Ref, Step]:
        """The step that computes a tensor in 8 bits."""
        return {step.match.root: step for step in self.steps if step.gives}

    @cached_property
    def tensors(self) -> tuple[Ref, ...]:
        """The float tensors that will be held in 8 bits: those whose ranges must be known."""
        read = [ref for step in self.steps for ref, _ in step.reads]
        return tuple(dict.fromkeys((*read, *self.producers)))

    @cached_property
    def regions(self) -> tuple[tuple[Step, ...], ...]:
        """Connected 8-bit pieces, the unit in which precision is given back; largest first."""
        parent = {step.name: step.name for step in self.steps}

        def find(name: str) -> str:
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        for step in self.steps:
            for ref, _ in step.reads:
                if ref in self.producers:
                    parent[find(step.name)] = find(self.producers[ref].name)
        regions: dict[str, list[Step]] = {}
        for step in self.steps:
            regions.setdefault(find(step.name), []).append(step)
        return tuple(sorted((tuple(r) for r in regions.values()), key=len, reverse=True))

    def without(self, *names: str, reason: str = "kept in float on request") -> Plan:
        """The plan with some steps left in float; steps that then have nothing to carry go with them.

        Args:
            names: of the nodes that compute the steps' results.
            reason: why, in words, for the refusals.

        Raises:
            KeyError: the plan has no step of that name.
        """
        unknown = set(names) - {step.name for step in self.steps}
        if unknown:
            raise KeyError(f"the plan has no step named {sorted(unknown)[0]!r}")
        left = [step for step in self.steps if step.name not in names]
        dropped = [step for step in self.steps if step.name in names]
        given_back = tuple(Refusal(step.name, step.match.node.op, reason) for step in dropped)
        kept, idle = _connected(left, self.graph)
        return replace(self, steps=kept, refusals=(*self.refusals, *given_back, *idle))


def make_plan(
    model: Model,
    tensors: Mapping[Ref, tuple[DType, Shape]],
    recipe: Recipe,
    rewrites: Iterable[Rewrite] = REWRITES,
) -> Plan:
    """Chooses the rewrites for a model.

    Args:
        model: the exported float model.
        tensors: dtype and static shape of its tensors.
        recipe: what the user wants.
        rewrites: the table to choose from.
    """
    major, minor = (int(part) for part in recipe.min_tensorflow.split(".")[:2])
    facts = Facts(tensors, (major, minor))
    chosen: list[Step] = []
    refusals: dict[str, Refusal] = {}
    taken: set[str] = set()
    for node in reversed(list(model.graph)):
        if node.name in taken or node.op in _SILENT:
            continue
        found = _best(model, node, facts, recipe, tuple(rewrites), taken)
        if isinstance(found, Step):
            chosen.append(found)
            taken.update(found.match.nodes)
        else:
            refusals[node.name] = found
    steps, idle = _connected(reversed(chosen), model.graph)
    return Plan(model.graph, steps, (*reversed(refusals.values()), *idle), facts, recipe)


def _best(
    model: Model, node: Node, facts: Facts, recipe: Recipe, rewrites: tuple[Rewrite, ...], taken: set[str]
) -> Step | Refusal:
    """The largest rewrite that applies at a node, or the reason of the one that came closest."""
    excluded = recipe.settings_for(node.name, node.op).fp32_reason
    if excluded:
        return Refusal(node.name, node.op, excluded)
    outputs = frozenset(model.outputs)
    best: Step | None = None
    reason = f"stock TensorFlow has no 8-bit kernel for {node.op}"
    closest = (False, 1)  # that a pattern ends in the same op tells nothing yet
    for rewrite in rewrites:
        for found in matches(model.graph, rewrite.pattern, node, outputs):
            if isinstance(found, Miss):
                if (False, found.depth) > closest:
                    reason, closest = found.reason, (False, found.depth)
                continue
            refused = rewrite.refusal(found, facts) or _excluded(found, recipe)
            if refused is None and not taken & set(found.nodes):
                if best is None or len(found.nodes) > len(best.match.nodes):
                    best = Step(rewrite, found)
                break  # a pattern names its preferred option first
            if refused and (True, len(found.nodes)) >= closest:  # a whole match came closer than any part
                reason, closest = refused, (True, len(found.nodes))
    return best or Refusal(node.name, node.op, reason)


def _excluded(found: Match, recipe: Recipe) -> str | None:
    """Why a match must not be used: one of its nodes was excluded by the user."""
    for name in found.nodes:
        reason = recipe.settings_for(name, found.graph[name].op).fp32_reason
        if reason:
            return reason
    return None


def _connected(steps: Iterable[Step], graph: Graph) -> tuple[tuple[Step, ...], tuple[Refusal, ...]]:
    """Drops the steps that carry codes from nowhere or to nowhere; they would only add conversions."""
    given = kept = list(steps)
    while True:
        produced = {step.match.root for step in kept if step.gives}
        wanted = {ref for step in kept for ref, _ in step.reads}
        staying = [step for step in kept if step.rewrite.role == "compute" or _useful(step, produced, wanted, graph)]
        if len(staying) == len(kept):
            break
        kept = staying
    names = {step.name for step in kept}
    idle = [step for step in given if step.name not in names]
    reason = "a neighbour of it is in float: 8 bits would only add conversions"
    return tuple(kept), tuple(Refusal(step.name, step.match.node.op, reason) for step in idle)


def _useful(step: Step, produced: set[Ref], wanted: set[Ref], graph: Graph) -> bool:
    """Whether a step that only carries codes finds them made before it, and read after it."""
    sources = [ref for ref, _ in step.reads if graph.constant(ref) is None]
    fed = [ref in produced for ref in sources]
    read = step.match.root in wanted
    if all(fed):
        return step.rewrite.role == "carry" or read
    return any(fed) and read
