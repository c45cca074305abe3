"""Runs many candidates that are each a small change of one base graph, at the cost of what each changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from eightfold.graph.ir import Array, DType, Graph, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.passes.summands import protect_summands
from eightfold.quantization.calibrate import feeds_of
from eightfold.search.cut import Base, Cut, cut_off
from eightfold.search.digest import Digests
from eightfold.tf.session import Runner, infer

__all__ = ["Siblings"]

_BYTES = 512e6
"""What the tensors kept between a base graph and its candidates may take."""

_MOST = 8
"""Candidates that share one run of the base graph, at most: each holds weights of its own."""


class Siblings:
    """Models that share most of their graph with one base model.

    Args:
        base: the model that the others differ from.
        batches: inputs by name.
    """

    def __init__(self, base: Model, batches: Sequence[Mapping[str, Array]]) -> None:
        self._model, self._batches, self._digests = base, batches, Digests(base.graph)
        self._base = Base.of(base.graph, base.inputs, self._digests.of_nodes(base.graph), infer(base.graph))
        self.outputs = self._computed([spec.ref for spec in base.default.outputs.values()])
        """The base model's outputs, for each batch."""

    def run(self, candidates: Iterable[tuple[str, Model]]) -> Iterator[tuple[str, list[list[Array]]]]:
        """The outputs of each candidate for each batch; candidates are made as they are needed."""
        group: dict[str, Cut] = {}
        for name, model in candidates:
            wanted = [spec.ref for spec in model.default.outputs.values()]
            group[name] = cut_off(model.graph, self._digests.of_nodes(model.graph), self._base, wanted, model.init)
            if len(group) == _MOST or self._size(_fed(group.values())) > _BYTES:
                yield from self._results(group)
                group = {}
        yield from self._results(group)

    def _results(self, group: Mapping[str, Cut]) -> Iterator[tuple[str, list[list[Array]]]]:
        fed = _fed(group.values())
        values = [dict(zip(fed, arrays, strict=True)) for arrays in self._computed(fed)]
        for name, cut in group.items():
            yield name, self._run(cut, values)

    def _run(self, cut: Cut, values: Sequence[Mapping[Ref, Array]]) -> list[list[Array]]:
        changed = [ref for ref in cut.outputs if ref is not None]
        if not changed:
            return self.outputs
        results = []
        with Runner(_protected(cut.graph, changed, keep=self._model.init), self._model.init) as run:
            for known, before in zip(values, self.outputs, strict=True):
                new = iter(run(changed, {placeholder: known[ref] for ref, placeholder in cut.feeds.items()}))
                results.append(
                    [old if ref is None else next(new) for ref, old in zip(cut.outputs, before, strict=True)]
                )
        return results

    def _computed(self, refs: Sequence[Ref]) -> list[list[Array]]:
        """Tensors of the base graph, for each batch."""
        if not refs:
            return [[] for _ in self._batches]
        graph = _protected(self._base.graph, refs, keep=(*self._model.init, *(ref.node for ref in self._model.inputs)))
        with Runner(graph, self._model.init) as run:
            return [run(refs, feeds_of(self._model, inputs)) for inputs in self._batches]

    def _size(self, refs: Iterable[Ref]) -> float:
        """About how many bytes tensors take for all batches."""
        examples = sum(next((len(value) for value in batch.values() if value.ndim), 1) for batch in self._batches)
        return sum(examples * _bytes(*self._base.tensors[ref]) for ref in refs)


def _fed(cuts: Iterable[Cut]) -> list[Ref]:
    return list(dict.fromkeys(ref for cut in cuts for ref in cut.feeds))


def _bytes(dtype: DType, shape: Shape) -> float:
    """Of one example of a tensor."""
    each = 4 if "32" in dtype else 8 if "64" in dtype else 1
    return each * float(np.prod([dim or 1 for dim in shape[1:]])) if shape.known_rank else each


def _protected(graph: Graph, refs: Sequence[Ref], keep: Sequence[str] = ()) -> Graph:
    """What some tensors need; no kernel adds into the buffer of one of them, or of what is fed."""
    specs = {str(ref): TensorSpec(ref, DType("float32"), Shape.UNKNOWN) for ref in refs}
    model = Model(graph.pruned([*(ref.node for ref in refs), *keep]), {"probe": Signature("probe", {}, specs)})
    return protect_summands(model).graph
