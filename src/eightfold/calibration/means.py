"""The mean of each channel of float tensors, batch by batch, reduced inside the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from eightfold.calibration.collect import Feeds, MakeRunner
from eightfold.calibration.preactivation import mean_over_examples
from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, DType, Graph, Node, Ref

__all__ = ["channel_means"]

_FLOAT, _INT32 = DType("float32"), DType("int32")


def channel_means(
    graph: Graph, ranks: Mapping[Ref, int], batches: Iterable[Feeds], make_runner: MakeRunner
) -> Iterator[Mapping[Ref, Array]]:
    """For each batch, the float64 [C] means of some tensors over all axes but the last; NaN of an empty tensor.

    An image is averaged in float32, the images in float64, so that nothing is lost with many of them.

    Args:
        graph: the float graph.
        ranks: the tensors, and the rank of each: 4 for images, 2 for rows.
        batches: the data.
        make_runner: opens something that runs a graph.
    """
    probes = {ref: _probe(f"eightfold_mean/{index}", ref, rank) for index, (ref, rank) in enumerate(ranks.items())}
    fetches = [mean.ref for _, mean in probes.values()]
    inputs = [node.name for node in graph if node.op == "Placeholder"]
    grown = graph.with_nodes((*graph, *(node for pair in probes.values() for node in pair)))
    with make_runner(grown.pruned((*(ref.node for ref in fetches), *inputs))) as run:
        for feeds in batches:
            found = run(fetches, feeds)
            yield {ref: mean_over_examples(mean) for ref, mean in zip(probes, found, strict=True)}


def _probe(name: str, ref: Ref, rank: int) -> Sequence[Node]:
    """The axes, and the mean over them: [N, C] for images, [1, C] for rows."""
    axes = const_node(f"{name}/axes", np.array([1, 2] if rank == 4 else [0], np.int32))
    attrs = {"T": _FLOAT, "Tidx": _INT32, "keep_dims": rank != 4}
    return axes, Node(f"{name}/mean", "Mean", (ref, axes.ref), attrs)
