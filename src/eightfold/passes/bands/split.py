"""Computes each image in bands, of rows or of channels, that TensorFlow can work on side by side.

    x ─ Conv ─ Conv3x3 ─            ┬ rows 0..27 of x  ─ Conv ─┬───────── Concat ─ Conv3x3 ─┬ Concat ─
                              =>    │                          └ row 27 ─┐ │                │
                                    │                          ┌ row 28 ─│─┘                │
                                    └ rows 28..55 of x ─ Conv ─┴───────── Concat ─ Conv3x3 ─┘

Threads inside of an op wait for each other at its end, once for each of the hundred ops of a net; two bands meet only
where one needs rows of the other. Large images are cut in rows. Small ones have many weights, and are cut in output
channels, so that no core reads all of these. The results are equal bit by bit: each number is computed as before.
"""

from __future__ import annotations

from collections.abc import Mapping

from eightfold.graph.edit import Edit
from eightfold.graph.ir import DType, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.passes.bands.channels import channel_band
from eightfold.passes.bands.operands import joins_channels
from eightfold.passes.bands.parts import Parts
from eightfold.passes.bands.plan import CHANNELS, CHANNELS_FROM, ROWS_FROM, Cut, planned
from eightfold.passes.bands.rows import row_band
from eightfold.passes.bands.sizes import image_sizes
from eightfold.passes.summands import protect_summands

__all__ = ["in_bands"]


def in_bands(
    model: Model,
    facts: Mapping[Ref, tuple[DType, Shape]],
    count: int,
    *,
    rows_from: int = ROWS_FROM,
    channels_from: int = CHANNELS_FROM,
) -> Model:
    """An 8-bit model whose images are computed in bands, for one op thread each: intra 1, inter `count`.

    What cannot be cut is computed whole: images of unknown height, width or channels, ops other than fused
    convolutions, pools and what moves rows between them, strided pools with SAME padding, fewer rows than bands.

    Args:
        model: after lowering; not yet in bands.
        facts: dtype of each tensor of its graph, and its shape as far as TensorFlow infers it.
        count: the number of bands.
        rows_from: the smallest height that is cut in rows.
        channels_from: the smallest height below that of what is cut in channels.

    Returns:
        A model of the same signatures; the same object where nothing is cut, as for a count below 2.
    """
    if count < 2:
        return model
    sizes = image_sizes(model.graph, facts)
    plan = planned(model, sizes, count, rows_from, channels_from)
    if not plan:
        return model
    edit = Edit(model)
    parts = Parts(edit, sizes, {ref: dtype for ref, (dtype, _) in facts.items()})
    return protect_summands(_Splitter(edit, parts, plan).done())


class _Splitter:
    """Replaces each node of the plan by its bands, in the order of the graph."""

    def __init__(self, edit: Edit, parts: Parts, plan: Mapping[Ref, Cut]) -> None:
        self._edit, self._parts, self._plan = edit, parts, plan
        self._bands: dict[str, list[str]] = {}
        """For each node that is cut, those that give its bands."""

    def done(self) -> Model:
        for node in self._edit.graph:
            if node.ref in self._plan:
                self._split(node, self._plan[node.ref])
            else:
                self._keep(node)
        return self._edit.done()

    def _split(self, node: Node, cut: Cut) -> None:
        write = channel_band if cut.axis == CHANNELS else row_band
        bands = [
            write(self._parts, node, part, span, self._waits(node, cut, part)) for part, span in enumerate(cut.bands)
        ]
        self._bands[node.name] = [band.node for band in bands]
        self._parts.put(node, cut, bands)

    def _waits(self, node: Node, cut: Cut, part: int) -> tuple[str, ...]:
        """What a band must run after: of what is cut alike, its own part."""
        names: list[str] = []
        for name in node.control:
            other = self._plan.get(Ref(name))
            bands = self._bands.get(name, [name])
            names.extend([bands[part]] if other is not None and other.axis == cut.axis else bands)
        return tuple(names)

    def _keep(self, node: Node) -> None:
        """A node that is computed whole. It reads whole tensors; a concat of channels, their bands."""
        inputs = node.inputs
        if node.op == "ConcatV2" and joins_channels(self._edit.graph, node):
            bands = [band for ref in inputs[:-1] for band in self._parts.bands(ref, CHANNELS)]
            node = node.with_attrs(N=len(bands))
            inputs = (*bands, inputs[-1])
        control = tuple(band for name in node.control for band in self._bands.get(name, [name]))
        if (inputs, control) != (node.inputs, node.control):
            self._edit.change(node.but(inputs=inputs, control=control))
