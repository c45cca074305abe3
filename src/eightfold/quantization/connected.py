"""Which steps have something to carry: what is left of a plan when parts of it are taken out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eightfold.graph.ir import Graph, Ref

if TYPE_CHECKING:
    from eightfold.quantization.plan import Step

__all__ = ["connected"]


def connected(steps: Iterable[Step], graph: Graph) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Steps without those that carry codes from nowhere or to nowhere, which would only add conversions; and these."""
    given = kept = list(steps)
    while True:
        produced = {step.match.root for step in kept if step.gives}
        wanted = {ref for step in kept for ref, _ in step.reads}
        staying = [step for step in kept if step.rewrite.role == "compute" or _useful(step, produced, wanted, graph)]
        if len(staying) == len(kept):
            break
        kept = staying
    names = {step.name for step in kept}
    return tuple(kept), tuple(step for step in given if step.name not in names)


def _useful(step: Step, produced: set[Ref], wanted: set[Ref], graph: Graph) -> bool:
    """Whether a step that only carries codes finds them made before it, and read after it."""
    sources = [ref for ref, _ in step.reads if graph.constant(ref) is None]
    fed = [ref in produced for ref in sources]
    read = step.match.root in wanted
    if all(fed):
        return step.rewrite.role == "carry" or read
    return any(fed) and read
