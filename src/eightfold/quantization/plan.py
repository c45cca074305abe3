"""Step 2: which nodes become which 8-bit op. Nothing is written and no data is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from eightfold.calibration.observers import did_you_mean
from eightfold.errors import RecipeError
from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Miss, matches
from eightfold.quantization.connected import connected
from eightfold.quantization.recipe import Override, Recipe
from eightfold.rewrites import REWRITES
from eightfold.rewrites.rewrite import Facts, Rewrite

__all__ = ["Plan", "Refusal", "Step", "make_plan"]

_SILENT = {"Const", "Placeholder", "NoOp", "Shape", "Size", "Rank"}
"""Ops of which nobody expects an 8-bit form."""
_IDLE = "a neighbour of it is in float: 8 bits would only add conversions"
_CARRIES = "it is computed in bfloat16: its neighbours are"


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
        given_back: steps that were in the plan and then left in float.
        bfloat16_steps: what is computed in bfloat16 instead of 8 bits, in topological order; its nodes are refused.
    """

    graph: Graph
    steps: tuple[Step, ...]
    refusals: tuple[Refusal, ...]
    facts: Facts
    recipe: Recipe
    given_back: tuple[Step, ...] = ()
    bfloat16_steps: tuple[Step, ...] = ()

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
    def bfloat16(self) -> frozenset[str]:
        """The names of the nodes that are computed in bfloat16."""
        return frozenset(name for step in self.bfloat16_steps for name in step.match.nodes)

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
            names: of the nodes that compute the steps' results, in 8 bits or bfloat16.
            reason: why, in words, for the refusals.

        Raises:
            RecipeError: the plan has no step of that name.
        """
        self._require(names, (*self.steps, *self.bfloat16_steps))
        steps, dropped = _split(self.steps, names)
        bfloat16, narrow = _split(self.bfloat16_steps, names)
        plan = replace(self, given_back=(*self.given_back, *dropped, *narrow))
        return plan._with(steps, bfloat16, [_refusal(step, reason) for step in (*dropped, *narrow)])

    def in_bfloat16(self, *names: str, reason: str = "on request") -> Plan:
        """The plan with some steps computed in bfloat16; steps that only carry what these compute go with them.

        Needs no ranges, and a CPU that has bfloat16 to be fast: see `eightfold.system.instructions.has_bfloat16`.

        Args:
            names: of the nodes that compute the steps' results.
            reason: why, in words, for the refusals.

        Raises:
            RecipeError: the plan has no step of that name in 8 bits.
        """
        self._require(names, self.steps)
        steps, moved = _split(self.steps, names)
        refused = [_refusal(step, f"it is computed in bfloat16: {reason}") for step in moved]
        return self._with(steps, (*self.bfloat16_steps, *moved), refused)

    def only(self, *names: str, reason: str = "kept in float on request") -> Plan:
        """The plan with these steps and no others; see `without`."""
        self._require(names, self.steps)
        return self.without(*(step.name for step in self.steps if step.name not in names), reason=reason)

    @property
    def settled_recipe(self) -> Recipe:
        """The recipe that gives this very plan, whatever a verification would measure: what was given back is spelled
        out, and nothing more is given back."""
        kept = tuple(Override(match=_exactly(step.match.nodes), keep="fp32") for step in self.given_back)
        moved = [step for step in self.bfloat16_steps if not self.bf16_reason(step)]
        narrow = tuple(Override(match=_exactly(step.match.nodes), keep="bf16") for step in moved)
        return replace(self.recipe, overrides=(*self.recipe.overrides, *kept, *narrow), fallback=False)

    def bf16_reason(self, step: Step) -> str | None:
        """Why the recipe wants a step in bfloat16, if it does: because of one of its nodes."""
        settings = (self.recipe.settings_for(name, self.graph[name].op) for name in step.match.nodes)
        return next((setting.bf16_reason for setting in settings if setting.bf16_reason), None)

    def _with(self, steps: Iterable[Step], bfloat16: Iterable[Step], refused: Iterable[Refusal]) -> Plan:
        """The plan with these steps, as far as they have something to carry, and further refusals."""
        kept, idle = connected(steps, self.graph)
        by_place = sorted((*bfloat16, *idle), key=lambda step: self.graph.position[step.name])
        narrow, float_steps = connected(by_place, self.graph)
        idle_names = {step.name for step in idle}
        carried = [_refusal(step, _CARRIES) for step in narrow if step.name in idle_names]
        latest = {refusal.node: refusal for refusal in (*refused, *carried, *(_refusal(s, _IDLE) for s in float_steps))}
        older = (refusal for refusal in self.refusals if refusal.node not in latest)
        return replace(self, steps=kept, bfloat16_steps=narrow, refusals=(*older, *latest.values()))

    def _require(self, names: Iterable[str], steps: Iterable[Step]) -> None:
        known = {step.name for step in steps}
        for name in names:
            if name not in known:
                raise RecipeError(f"the plan has no step named {name!r}{did_you_mean(name, known)}")


def _exactly(names: Iterable[str]) -> str:
    """A regular expression that finds these names and no others."""
    return f"^({'|'.join(re.escape(name) for name in names)})$"


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
    recipe = recipe.bound(model.graph)
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
    steps, idle = connected(reversed(chosen), model.graph)
    refused = (*reversed(refusals.values()), *(_refusal(step, _IDLE) for step in idle))
    return _as_recipe_says(Plan(model.graph, steps, refused, facts, recipe))


def _as_recipe_says(plan: Plan) -> Plan:
    """The plan with the steps in bfloat16 of which the recipe wants a node there."""
    reasons: dict[str, list[str]] = {}
    for step in plan.steps:
        if reason := plan.bf16_reason(step):
            reasons.setdefault(reason, []).append(step.name)
    for reason, names in reasons.items():
        there = {step.name for step in plan.steps}  # some may have gone along with those before
        plan = plan.in_bfloat16(*(name for name in names if name in there), reason=reason)
    return plan


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


def _split(steps: Iterable[Step], names: Iterable[str]) -> tuple[list[Step], list[Step]]:
    """The steps that are not named, and those that are."""
    all_steps, wanted = list(steps), set(names)
    return [step for step in all_steps if step.name not in wanted], [s for s in all_steps if s.name in wanted]


def _refusal(step: Step, reason: str) -> Refusal:
    return Refusal(step.name, step.match.node.op, reason)
