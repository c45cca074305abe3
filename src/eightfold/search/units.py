"""The pieces of a plan that a search gives back one by one."""

from __future__ import annotations

from dataclasses import dataclass

from eightfold.quantization.plan import Plan, Step

__all__ = ["Unit", "units_of"]


@dataclass(frozen=True)
class Unit:
    """A step that computes, together with those that only carry its codes on.

    Attributes:
        name: of the step that computes.
        op: its 8-bit op.
        steps: the names of all its steps; a concat belongs to each unit that it carries.
        nodes: the float nodes of the step that computes.
    """

    name: str
    op: str
    steps: tuple[str, ...]
    nodes: tuple[str, ...]


def units_of(plan: Plan) -> tuple[Unit, ...]:
    """The units of a plan, in topological order."""
    owners: dict[str, set[str]] = {}
    followers: dict[str, list[str]] = {}
    computing = [step for step in plan.steps if step.rewrite.role == "compute"]
    for step in plan.steps:
        owners[step.name] = {step.name} if step in computing else _before(step, plan, owners)
        for owner in owners[step.name]:
            followers.setdefault(owner, []).append(step.name)
    return tuple(
        Unit(step.name, step.rewrite.int8_op, tuple(followers[step.name]), step.match.nodes) for step in computing
    )


def _before(step: Step, plan: Plan, owners: dict[str, set[str]]) -> set[str]:
    """The units whose codes a step carries."""
    sources = [plan.producers[ref].name for ref, _ in step.reads if ref in plan.producers]
    return {owner for source in sources for owner in owners.get(source, ())}
