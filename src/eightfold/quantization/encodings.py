"""Which encoding each 8-bit tensor has: decided once for the whole graph, between calibrate and lower.

Tensors between which codes pass unchanged (into and out of a pool, a reshape, a concat) form a *scale group* and share
one encoding, so that the pass is a copy. A group takes the coding that needs the fewest conversions at its producers
and consumers; of several the first of UNSIGNED, OFFSET, SIGNED (OFFSET, UNSIGNED where there are negative values).

A tensor with few or small negative values that must do without an offset (its reader pads with zeros) may still be
UNSIGNED, all 255 steps above zero and the rest clipped, where that is a smaller error than the coarser steps of SIGNED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from eightfold.graph.encoding import Code, Encoding, encoding_of
from eightfold.graph.ir import Ref
from eightfold.graph.ranges import Range
from eightfold.quantization.plan import Plan, Step

__all__ = ["choose_encodings", "scale_groups", "without_offset"]

_CLIPPED = 2.0
"""How much a squared error of clipping weighs against one of rounding: it has one sign, and adds up in sums of products
where rounding averages out."""


def scale_groups(steps: Iterable[Step]) -> list[tuple[Ref, ...]]:
    """The tensors that must share one encoding, by union-find over the steps that keep the scale."""
    parent: dict[Ref, Ref] = {}

    def find(ref: Ref) -> Ref:
        parent.setdefault(ref, ref)
        while parent[ref] != ref:
            parent[ref] = parent[parent[ref]]
            ref = parent[ref]
        return ref

    for step in steps:
        refs = [ref for ref, _ in step.reads]
        refs += [step.match.root] if step.gives else []
        for ref in refs:
            find(ref)
        if step.rewrite.same_scale:
            for ref in refs[1:]:
                parent[find(ref)] = find(refs[0])
    groups: dict[Ref, list[Ref]] = {}
    for ref in parent:
        groups.setdefault(find(ref), []).append(ref)
    return [tuple(group) for group in groups.values()]


@dataclass
class _Tensor:
    """What is known of one tensor of a group."""

    ref: Ref
    values: Range
    gives: Code = Code.ANY
    cap: float | None = None
    carried: bool = False
    reads: list[Code] = field(default_factory=list)

    def can_be(self, encoding: Encoding) -> bool:
        """Whether the producer can write this encoding; one that clips needs its clip at or below R."""
        fits = self.cap is None or encoding.range.hi <= self.cap * (1 + 1e-6)
        return bool(self.carried or (encoding.code & self.gives and fits))


def choose_encodings(plan: Plan, ranges: Mapping[Ref, Range], *, offsets: bool = True) -> dict[Ref, Encoding]:
    """The encoding of every tensor that the plan holds in 8 bits.

    Args:
        plan: the steps.
        ranges: the calibrated range of each of `plan.tensors`.
        offsets: whether `Code.OFFSET` may be used.
    """
    readers: dict[Ref, list[Code]] = {}
    for step in plan.steps:
        if not step.rewrite.same_scale:
            for ref, codes in step.reads:
                readers.setdefault(ref, []).append(codes)
    result: dict[Ref, Encoding] = {}
    for group in scale_groups(plan.steps):
        tensors = [_tensor(plan, ref, ranges[ref], readers.get(ref, [])) for ref in group]
        shared = _for_group(tensors, offsets)
        for tensor in tensors:
            result[tensor.ref] = shared if tensor.can_be(shared) else _own(tensor, offsets)
    return result


def without_offset(plan: Plan) -> frozenset[Ref]:
    """The tensors that may have to do without an offset, so that `Range.below_zero` is worth knowing."""
    strict = {ref for step in plan.steps for ref, codes in step.reads if Code.OFFSET not in codes}
    strict |= {ref for ref, step in plan.producers.items() if Code.OFFSET not in step.gives}
    return frozenset(ref for group in scale_groups(plan.steps) if strict.intersection(group) for ref in group)


def _tensor(plan: Plan, ref: Ref, values: Range, readers: list[Code]) -> _Tensor:
    step = plan.producers.get(ref)
    if step is None:
        return _Tensor(ref, values, reads=readers)
    cap = step.rewrite.cap(step.match)
    if "act" in step.match:
        values = Range(max(values.lo, 0.0), max(values.hi, 0.0))
    if cap is not None:
        values = replace(values, lo=min(values.lo, cap), hi=min(values.hi, cap))
    return _Tensor(ref, values, step.gives, cap, step.rewrite.same_scale, readers)


def _for_group(tensors: list[_Tensor], offsets: bool) -> Encoding:
    """The cheapest encoding for tensors that share one."""
    values = tensors[0].values
    for tensor in tensors[1:]:
        values = values.union(tensor.values)
    return min(_candidates(values, offsets), key=lambda encoding: _conversions(tensors, encoding))


def _own(tensor: _Tensor, offsets: bool) -> Encoding:
    """What the producer of a tensor can write where its group has chosen something else."""
    possible = [e for e in _candidates(tensor.values, offsets) if tensor.can_be(e)]
    if not possible:  # no coding without an offset will do: the kernel that adds writes unsigned codes only
        return encoding_of(tensor.values, Code.OFFSET if Code.OFFSET in tensor.gives else Code.SIGNED)
    return min(possible, key=lambda encoding: _conversions([tensor], encoding))


def _candidates(values: Range, offsets: bool) -> list[Encoding]:
    """The encodings of a range to choose from, the preferred first."""
    codes = [Code.SIGNED]
    if not values.signed or _better_clipped(values):
        codes.insert(0, Code.UNSIGNED)
    if offsets and values.signed:
        codes.insert(0, Code.OFFSET)
    return [encoding_of(values, code) for code in codes]


def _better_clipped(values: Range) -> bool:
    """Whether UNSIGNED with everything below zero clipped loses less than SIGNED: the expected squared errors of
    uniform rounding, step²/12 (B. Widrow, I. Kollár, "Quantization Noise", 2008), and what is clipped."""
    if values.below_zero is None or values.hi <= 0:
        return False
    signed, unsigned = (encoding_of(values, code).step ** 2 / 12 for code in (Code.SIGNED, Code.UNSIGNED))
    return unsigned + _CLIPPED * values.below_zero < signed


def _conversions(tensors: list[_Tensor], encoding: Encoding) -> int:
    """How many producers and consumers would need a conversion."""
    unable = sum(not tensor.can_be(encoding) for tensor in tensors)
    return unable + sum(not (encoding.code & codes) for tensor in tensors for codes in tensor.reads)
