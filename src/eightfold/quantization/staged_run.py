"""Runs an 8-bit graph once, in stages, with biases that are decided on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from eightfold.calibration.collect import Feeds
from eightfold.calibration.preactivation import BiasedSum, mean_over_examples
from eightfold.calibration.stages import Stage, by_depth, stages
from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.passes.summands import protect_summands
from eightfold.tf.session import Runner

__all__ = ["StagedRun"]

_HELD_BYTES = 2**29
"""What the tensors between two stages may take; the batches beyond that are let go."""


class StagedRun:
    """A run of an 8-bit graph that stops before each layer whose bias is still to be decided.

        with StagedRun(model, sums, batches) as run:
            for names in run.groups:
                means = run.means_before_bias(names)
                run.biases.update(...)              # the next group is computed with these

    Args:
        model: the 8-bit model.
        sums: where each layer adds its bias, by the name of the layer's node.
        batches: the input.
        loose: nodes that give lists of tensors, which cannot be held between two stages.

    Attributes:
        groups: the names of the layers; each group depends on the groups before it only.
        biases: float64 [C] by the name of the layer, as the model has them; to be changed before the next group.
    """

    def __init__(
        self, model: Model, sums: Mapping[str, BiasedSum], batches: Iterable[Feeds], loose: Collection[str] = ()
    ) -> None:
        self._graph, self._sums = model.graph, sums
        self._held = [dict(feeds) for feeds in batches]
        self.biases = {name: model.graph[sum_.bias].value.astype(np.float64) for name, sum_ in sums.items()}
        self.groups = by_depth(model.graph, sums)
        targets = [[ref for name in group for ref in sums[name].reads] for group in self.groups]
        opened, self._fed = _with_fed_biases(model, sums)
        opened = _without_order(opened, [ref for group in targets for ref in group])
        given = [spec.ref for spec in model.default.inputs.values()]
        self._stages = dict(zip(map(tuple, self.groups), stages(opened.graph, given, targets, loose), strict=True))
        self._runner = Runner.of(_giving_out(opened, self._stages.values()), optimize=False)

    def means_before_bias(self, group: Sequence[str]) -> list[dict[str, Array]]:
        """For each batch, the float64 [C] means of the sums of a group, their biases left out.

        The groups must come in their order. Later batches may be let go, where memory does not suffice for all.
        """
        stage, means = self._stages[tuple(group)], []
        fed = {self._fed[name]: self.biases[name].astype(np.float32) for name in self._fed if name in stage.nodes}
        total = 0
        for index, tensors in enumerate(self._held):
            if stage.fetches:
                feeds = {**{ref: tensors[ref] for ref in stage.feeds}, **fed}
                tensors.update(zip(stage.fetches, self._runner(stage.fetches, feeds), strict=True))
            means.append({name: self._mean(name, tensors) for name in group})
            self._held[index] = {ref: value for ref, value in tensors.items() if ref in stage.keeps}
            total += sum(value.nbytes for value in self._held[index].values())
            if total > _HELD_BYTES:
                del self._held[index + 1 :]
        return means

    def _mean(self, name: str, tensors: Mapping[Ref, Array]) -> Array:
        reads = self._sums[name].reads
        return self._sums[name].mean(self._graph, {ref: mean_over_examples(tensors[ref]) for ref in reads})

    def __enter__(self) -> StagedRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()


def _with_fed_biases(model: Model, sums: Mapping[str, BiasedSum]) -> tuple[Model, dict[str, Ref]]:
    """The model with each bias as an input, and where it is fed, by the name of the layer."""
    edit, fed = Edit(model), {}
    for name, found in sums.items():
        attrs = {"dtype": DType("float32"), "shape": Shape(model.graph[found.bias].value.shape)}
        fed[name] = edit.add("Placeholder", f"{name}/fed_bias", attrs=attrs)
        inputs = list(found.node.inputs)
        inputs[found.position] = fed[name]
        node = found.node.but(inputs=tuple(inputs))
        edit.change(node.with_attrs(is_bias_const=False) if "is_bias_const" in node.attrs else node)
    return edit.done(), fed


def _without_order(model: Model, targets: Iterable[Ref]) -> Model:
    """The model without control inputs above the targets: they would let a node run again in a later stage."""
    above = model.graph.ancestors(ref.node for ref in targets)
    return model.but(graph=model.graph.mapped(lambda node: node.but(control=()) if node.name in above else node))


def _giving_out(model: Model, parts: Iterable[Stage]) -> Model:
    """The model that gives out what the stages fetch, and nothing else. No kernel may add into any of that."""
    specs = {str(ref): TensorSpec(ref, DType("quint8"), Shape.UNKNOWN) for part in parts for ref in part.fetches}
    return protect_summands(model.but(signatures={"stages": Signature("stages", {}, specs)})).pruned()
