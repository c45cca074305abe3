"""Runs the float graph on data and gathers what the observers need, reduced inside the graph.

Pass 1 adds a Min and a Max to each tensor watched and fetches two numbers; pass 2, for the observers that want it, adds
a histogram. No activation ever leaves the graph, so memory does not grow with the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from eightfold.calibration.histogram import BINS
from eightfold.calibration.observers import Observer
from eightfold.errors import DataError
from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, DType, Graph, Node, Ref
from eightfold.graph.ranges import Range

__all__ = ["Feeds", "MakeRunner", "Probes", "Run", "collect"]

Feeds: TypeAlias = Mapping[Ref, Array]
Run: TypeAlias = Callable[[Sequence[Ref], Feeds], "list[Array]"]
MakeRunner: TypeAlias = Callable[[Graph], AbstractContextManager[Run]]

_FLOAT, _INT32 = DType("float32"), DType("int32")


def collect(
    graph: Graph,
    observers: Mapping[Ref, Observer],
    batches: Callable[[], Iterable[Feeds]],
    make_runner: MakeRunner,
    below_zero: Container[Ref] = (),
) -> dict[Ref, Range]:
    """The range of each tensor watched.

    Args:
        graph: the float graph.
        observers: a fresh observer for each tensor.
        batches: gives the data anew at each call; it is called once, or twice when an observer needs histograms.
        make_runner: opens something that runs a graph.
        below_zero: the tensors whose `Range.below_zero` is wanted: one more number a batch, averaged over the batches.

    Raises:
        DataError: there is no batch, or a tensor becomes NaN or infinite.
    """
    tails = _extremes(graph, observers, batches, make_runner, below_zero)
    waiting = {
        ref: observer
        for ref, observer in observers.items()
        if observer.needs_histogram and observer.seen.lo < observer.seen.hi
    }
    if waiting:
        _histograms(graph, waiting, batches, make_runner)
    return {ref: replace(observer.range(), below_zero=tails.get(ref)) for ref, observer in observers.items()}


def _extremes(
    graph: Graph,
    observers: Mapping[Ref, Observer],
    batches: Callable[[], Iterable[Feeds]],
    make_runner: MakeRunner,
    below_zero: Container[Ref],
) -> dict[Ref, float]:
    """Tells the observers; gives the mean of min(x, 0)² where it is wanted."""
    probes = Probes(graph)
    fetches = [ref for tensor in observers for ref in probes.extremes(tensor)]
    tails: dict[Ref, list[float]] = {tensor: [] for tensor in observers if tensor in below_zero}
    fetches += [probes.below_zero(tensor) for tensor in tails]
    count = 0
    with make_runner(probes.graph(fetches)) as run:
        for feeds in batches():
            count += 1
            numbers = iter(run(fetches, feeds))
            for tensor, observer in observers.items():
                lo, hi = float(next(numbers)), float(next(numbers))
                if lo == math.inf and hi == -math.inf:  # an empty tensor has no values
                    continue
                if not (math.isfinite(lo) and math.isfinite(hi)):
                    raise DataError(
                        f"tensor {tensor} becomes NaN or infinite (range [{lo}, {hi}]) in calibration batch {count}; "
                        "expected finite values. Check the model's weights and the scale of the data"
                    )
                observer.update(lo, hi)
            for tail, number in zip(tails.values(), numbers, strict=True):
                tail.append(float(number))
    if count == 0:
        raise DataError("the calibration data is empty; expected at least one batch")
    return {tensor: float(np.nanmean(tail)) for tensor, tail in tails.items() if not np.isnan(tail).all()}


def _histograms(
    graph: Graph,
    observers: Mapping[Ref, Observer],
    batches: Callable[[], Iterable[Feeds]],
    make_runner: MakeRunner,
) -> None:
    probes = Probes(graph)
    fetches = [probes.histogram(tensor, observer.seen) for tensor, observer in observers.items()]
    with make_runner(probes.graph(fetches)) as run:
        for feeds in batches():
            for observer, counts in zip(observers.values(), run(fetches, feeds), strict=True):
                observer.add_histogram(counts.astype(np.int64))


class Probes:
    """Adds reducing nodes to a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node] = []
        self._flat = self._const(np.array([-1], np.int32))
        self._axis = self._const(np.array(0, np.int32))
        self._bins = self._const(np.array(BINS, np.int32))

    def extremes(self, tensor: Ref) -> tuple[Ref, Ref]:
        """Nodes for the smallest and the largest value."""
        return self._bounds(self._reshaped(tensor, self._flat))

    def channel_extremes(self, tensor: Ref, channels: int) -> tuple[Ref, Ref]:
        """Nodes for the smallest and the largest value of each channel, [C]; the channels are the last axis."""
        return self._bounds(self._reshaped(tensor, self._const(np.array([-1, channels], np.int32))))

    def below_zero(self, tensor: Ref) -> Ref:
        """A node for the mean of min(x, 0)²; NaN for an empty tensor."""
        flat, zero = self._reshaped(tensor, self._flat), self._const(np.array(0, np.float32))
        negative = self._add("Minimum", (flat, zero), {"T": _FLOAT})
        square = self._add("Square", (negative,), {"T": _FLOAT})
        return self._add("Mean", (square, self._axis), {"T": _FLOAT, "Tidx": _INT32, "keep_dims": False})

    def histogram(self, tensor: Ref, seen: Range) -> Ref:
        """A node for the int32 [BINS] counts between the bounds seen."""
        bounds = self._const(np.array([seen.lo, seen.hi], np.float32))
        attrs = {"T": _FLOAT, "dtype": _INT32}
        return self._add("HistogramFixedWidth", (self._reshaped(tensor, self._flat), bounds, self._bins), attrs)

    def graph(self, fetches: Iterable[Ref]) -> Graph:
        """The graph with all probes, and only what they need."""
        placeholders = [node.name for node in self._graph if node.op == "Placeholder"]
        grown = self._graph.with_nodes((*self._graph, *self._nodes))
        return grown.pruned([*(ref.node for ref in fetches), *placeholders])

    def _reshaped(self, tensor: Ref, shape: Ref) -> Ref:
        return self._add("Reshape", (tensor, shape), {"T": _FLOAT, "Tshape": _INT32})

    def _bounds(self, rows: Ref) -> tuple[Ref, Ref]:
        attrs = {"T": _FLOAT, "Tidx": _INT32, "keep_dims": False}
        lo, hi = (self._add(op, (rows, self._axis), attrs) for op in ("Min", "Max"))
        return lo, hi

    def _add(self, op: str, inputs: tuple[Ref, ...], attrs: Mapping[str, object]) -> Ref:
        self._nodes.append(Node(f"eightfold_probe/{len(self._nodes)}", op, inputs, attrs))
        return self._nodes[-1].ref

    def _const(self, value: Array) -> Ref:
        self._nodes.append(const_node(f"eightfold_probe/{len(self._nodes)}", value))
        return self._nodes[-1].ref
