"""The range of each channel of float tensors over the data, reduced inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from eightfold.calibration.collect import Feeds, MakeRunner, Probes
from eightfold.errors import DataError
from eightfold.graph.ir import Array, Graph, Ref

__all__ = ["ChannelRange", "collect_channels"]


@dataclass(frozen=True)
class ChannelRange:
    """The smallest and the largest value of each channel of a tensor, in the tensor's own unit.

    Attributes:
        lo, hi: float64 [C].
    """

    lo: Array
    hi: Array

    @property
    def magnitude(self) -> Array:
        """float64 [C]: the largest absolute value of each channel."""
        result: Array = np.maximum(np.abs(self.lo), np.abs(self.hi))
        return result

    def union(self, other: ChannelRange) -> ChannelRange:
        """The smallest ranges that cover both."""
        return ChannelRange(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))


def collect_channels(
    graph: Graph,
    channels: Mapping[Ref, int],
    batches: Callable[[], Iterable[Feeds]],
    make_runner: MakeRunner,
) -> dict[Ref, ChannelRange]:
    """The range of each channel of some tensors; memory does not grow with the data.

    Args:
        graph: the float graph.
        channels: the size of the last axis of each tensor watched.
        batches: gives the data; it is called once.
        make_runner: opens something that runs a graph.

    Raises:
        DataError: there is no batch, or a tensor has no values, or becomes NaN or infinite.
    """
    probes = Probes(graph)
    fetches = [ref for tensor, size in channels.items() for ref in probes.channel_extremes(tensor, size)]
    seen: dict[Ref, ChannelRange] = {}
    with make_runner(probes.graph(fetches)) as run:
        for feeds in batches():
            numbers = iter(run(fetches, feeds))
            for tensor in channels:
                batch = ChannelRange(next(numbers).astype(np.float64), next(numbers).astype(np.float64))
                seen[tensor] = batch.union(seen.get(tensor, batch))
    for tensor in channels:
        if tensor not in seen:
            raise DataError("the calibration data is empty; expected at least one batch")
        if not np.isfinite(seen[tensor].magnitude).all():
            raise DataError(
                f"channels of tensor {tensor} have no values, or become NaN or infinite; expected finite values. Check "
                "the model's weights and the scale of the data"
            )
    return seen
