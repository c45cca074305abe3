"""What a rewrite is: a pattern of float nodes, when it may become an 8-bit op, and how that is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Pattern

if TYPE_CHECKING:
    from eightfold.rewrites.builder import Builder

__all__ = ["Condition", "Facts", "Reads", "Rewrite", "Role"]


@dataclass(frozen=True)
class Facts:
    """What conditions may know besides the match.

    Attributes:
        tensors: dtype and static shape of every float tensor.
        tensorflow: the oldest version that must run the result, as (major, minor).
    """

    tensors: Mapping[Ref, tuple[DType, Shape]]
    tensorflow: tuple[int, int] = (2, 16)

    def shape(self, ref: Ref) -> Shape:
        return self.tensors[ref][1]

    def dtype(self, ref: Ref) -> DType:
        return self.tensors[ref][0]

    def rank(self, ref: Ref) -> int | None:
        shape = self.shape(ref)
        return len(shape) if shape.known_rank else None


Condition: TypeAlias = Callable[[Match, Facts], "str | None"]
"""`None` where a rewrite may be applied, else the reason why not, in words."""

Reads: TypeAlias = tuple[tuple[Ref, Code], ...]
"""The tensors that are read in 8 bits, and the codings each may have."""

Role: TypeAlias = Literal["compute", "carry", "bridge"]
"""`compute`: worth 8 bits by itself. `carry`: worth it where its inputs are in 8 bits already. `bridge`: worth it
only where its result is read in 8 bits as well."""


def _no_cap(match: Match) -> float | None:
    del match
    return None


@dataclass(frozen=True)
class Rewrite:
    """One way to do a piece of a float graph in 8 bits.

    Attributes:
        name: unique; appears in plans and reports.
        pattern: what it replaces. Of several that match, the one with the most nodes is taken.
        int8_op: the op that does the work, as the table of docs and reports names it.
        emit: writes the 8-bit form with a `Builder`.
        reads: the tensors it reads in 8 bits, and the codings it takes each in.
        gives: the codings it can give its result in; `Code.NONE` for a float result.
        when: conditions, all of which must hold.
        role: see `Role`.
        same_scale: the result has the encoding of what is read: nothing is computed, or only compared or averaged.
        cap: the largest value of the result, where the float graph clips it (6 for a Relu6).
        tensorflow: the first version whose kernels can run it.
        example: a tiny float model that it applies to, whole.
    """

    name: str
    pattern: Pattern
    int8_op: str
    emit: Callable[[Builder, Match], None]
    reads: Callable[[Match], Reads]
    gives: Callable[[Match], Code]
    example: Callable[[], Model]
    when: tuple[Condition, ...] = ()
    role: Role = "compute"
    same_scale: bool = False
    cap: Callable[[Match], float | None] = _no_cap
    tensorflow: tuple[int, int] = (2, 16)

    def refusal(self, match: Match, facts: Facts) -> str | None:
        """The first reason not to apply it to a match."""
        if facts.tensorflow < self.tensorflow:
            return "{} needs TensorFlow {}.{}".format(self.int8_op, *self.tensorflow)
        if facts.dtype(match.root) != "float32":
            return f"it computes {facts.dtype(match.root)}; the 8-bit kernels stand for float32"
        return next((reason for condition in self.when if (reason := condition(match, facts))), None)
