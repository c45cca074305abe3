"""Second moments of what convolutions and matrix products read: all that least squares needs to know of the data.

    x ─ [Slice] ─ [Pad] ─ ExtractImagePatches ─ Reshape ─ PadV2(1) ─ MatMul(transposed with itself)

The graph itself multiplies the rows, so no activation leaves it and memory does not grow with the data. Each row is a
patch as the filter meets it, with a one behind it: so one matrix holds products, sums and the count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eightfold.calibration.collect import Feeds, MakeRunner
from eightfold.errors import DataError
from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.graph.reference.window import Pair, Window, window_of

__all__ = ["Gram", "collect_grams", "gram_bytes", "gram_groups"]

_FLOAT, _INT32 = DType("float32"), DType("int32")

_PRODUCTS_EXACT_TO = 1e-6
_POSITIONS = 256
"""Positions of an image that a convolution's rows are taken from, about; on a grid that moves from batch to batch."""


@dataclass(frozen=True)
class Gram:
    """Second moments of the rows x that a product reads.

    Attributes:
        sums: float64 [..., K + 1, K + 1]: the sum of [x, 1]ᵀ[x, 1] over all rows. One matrix for each input channel of
            a depthwise convolution, and just one for other products. The K elements of a row are in the order of the
            weight's own axes.
    """

    sums: Array

    @property
    def rows(self) -> int:
        """How many rows were seen."""
        return int(self.sums[..., -1, -1].flat[0])

    @property
    def moment(self) -> Array:
        """float64 [..., K, K]: the mean of xᵀx."""
        moment: Array = self.sums[..., :-1, :-1] / self.rows
        return moment

    @property
    def covariance(self) -> Array:
        """float64 [..., K, K]: the mean of (x - m)ᵀ(x - m), where m is the mean of x; positive definite.

        float32 products are exact to a part of the moment, which the diagonal is enlarged by: where x hardly varies
        about a large mean, the difference would be of any sign.
        """
        mean, covariance = self.sums[..., :-1, -1:] / self.rows, self.moment
        diagonal = np.einsum("...ii->...i", covariance)  # a view
        exact = _PRODUCTS_EXACT_TO * diagonal.mean(axis=-1, keepdims=True)
        covariance -= mean * np.swapaxes(mean, -1, -2)
        diagonal += exact
        return covariance


def gram_bytes(graph: Graph, node: Node) -> int:
    """Memory that the Gram matrices of a product take while they are collected: in float64 here, in float32 there."""
    shape = _weight_shape(graph, node)
    if node.op == "DepthwiseConv2dNative":
        return 12 * shape[2] * (shape[0] * shape[1] + 1) ** 2
    if node.op == "Conv2D":
        return 12 * (shape[0] * shape[1] * shape[2] + 1) ** 2
    return 12 * (shape[1 if node.attrs.get("transpose_b") else 0] + 1) ** 2


def gram_groups(graph: Graph, nodes: Iterable[Node], limit: int) -> Iterator[list[Node]]:
    """The nodes, in order, in groups whose matrices fit into `limit` bytes; one alone may be larger."""
    group: list[Node] = []
    for node in nodes:
        if group and sum(gram_bytes(graph, other) for other in (*group, node)) > limit:
            yield group
            group = []
        group.append(node)
    if group:
        yield group


def collect_grams(
    graph: Graph,
    nodes: Sequence[Node],
    shape_of: Callable[[Ref], Shape],
    batches: Callable[[], Iterable[Feeds]],
    make_runner: MakeRunner,
    *,
    positions: int = _POSITIONS,
) -> dict[str, Gram]:
    """The Gram matrix of each node, by its name.

    Args:
        graph: the float graph.
        nodes: `Conv2D`, `DepthwiseConv2dNative` (both NHWC) and `MatMul` with a constant weight.
        shape_of: the static shape of a tensor. Where height and width are not known, the first batch shows them.
        batches: gives the data anew at each call.
        make_runner: opens something that runs a graph.
        positions: of an image, about, that are taken. Neighbouring patches say much the same.

    Raises:
        DataError: there is no batch, or a tensor becomes NaN or infinite.
    """
    probes = _Probes(graph)
    seen = _sizes_seen(graph, [node for node in nodes if not _has_size(node, shape_of)], batches, make_runner)
    fetches = [probes.gram(node, shape_of(node.inputs[0]), seen.get(node.name), positions) for node in nodes]
    random = np.random.default_rng(0)
    sums: list[Array] = []
    with make_runner(probes.graph(fetches)) as run:
        for feeds in batches():
            products = run(fetches, {**feeds, **probes.starts(random)})
            sums = sums or [np.zeros(product.shape) for product in products]
            for total, product in zip(sums, products, strict=True):
                np.add(total, product, out=total)
    if not sums:
        raise DataError("the calibration data is empty; expected at least one batch")
    for node, total in zip(nodes, sums, strict=True):
        if not np.isfinite(total).all():
            raise DataError(
                f"the input of {node.name!r} becomes NaN or infinite; expected finite values. "
                "Check the model's weights and the scale of the data"
            )
    return {node.name: Gram(total) for node, total in zip(nodes, sums, strict=True)}


def _has_size(node: Node, shape_of: Callable[[Ref], Shape]) -> bool:
    shape = shape_of(node.inputs[0])
    return node.op == "MatMul" or (shape.known_rank and None not in shape[1:3])


def _sizes_seen(
    graph: Graph, nodes: Sequence[Node], batches: Callable[[], Iterable[Feeds]], make_runner: MakeRunner
) -> dict[str, Pair]:
    """Height and width that the input of each node has in the first batch."""
    feeds = next(iter(batches()), None) if nodes else None
    if feeds is None:
        return {}
    probes = _Probes(graph)
    fetches = [probes.shape(node.inputs[0]) for node in nodes]
    with make_runner(probes.graph(fetches)) as run:
        shapes = run(fetches, feeds)
    return {node.name: (int(shape[1]), int(shape[2])) for node, shape in zip(nodes, shapes, strict=True)}


def _weight_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph[node.inputs[1]].value.shape


class _Probes:
    """Adds the nodes that multiply rows to a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node] = []
        self._grids: dict[Ref, tuple[Pair, Pair]] = {}

    def shape(self, x: Ref) -> Ref:
        """A node for the int32 shape of a tensor."""
        return self._add("Shape", (x,), {"T": _FLOAT, "out_type": _INT32})

    def gram(self, node: Node, shape: Shape, seen: Pair | None, positions: int) -> Ref:
        """A node for the float32 [..., K + 1, K + 1] product of one batch; `seen` where the shape has no size."""
        x = node.inputs[0]
        if node.op == "MatMul":
            return self._product(x, "MatMul")
        height, width, channels, _ = _weight_shape(self._graph, node)
        window = window_of(node, (height, width))
        if seen is None:
            assert shape[1] is not None  # the caller looked
            assert shape[2] is not None
            patches = self._moving_patches(node, window, (shape[1], shape[2]), positions)
        else:
            patches = self._fixed_patches(node, window, seen, positions)
        if node.op == "Conv2D":
            return self._product(self._reshape(patches, -1, height * width * channels), "MatMul")
        rows = self._reshape(patches, -1, height * width, channels)
        order = self._const(np.array([2, 0, 1], np.int32))
        apart = self._add("Transpose", (rows, order), {"T": _FLOAT, "Tperm": _INT32})
        return self._product(apart, "BatchMatMulV2")

    def starts(self, random: np.random.Generator) -> Feeds:
        """Where each grid starts in the next batch: anywhere, so that every position has its turn."""
        return {
            start: np.array([0, *(random.integers(n) * s for n, s in zip(every, strides, strict=True)), 0], np.int32)
            for start, (every, strides) in self._grids.items()
        }

    def graph(self, fetches: Iterable[Ref]) -> Graph:
        """The graph with all probes, and only what they need."""
        placeholders = [node.name for node in self._graph if node.op == "Placeholder"]
        grown = self._graph.with_nodes((*self._graph, *self._nodes))
        return grown.pruned([*(ref.node for ref in fetches), *placeholders])

    def _moving_patches(self, node: Node, window: Window, size: Pair, positions: int) -> Ref:
        """float32 [N, H', W', h * w * C]: patches at all positions of the result, or on a grid that starts anywhere."""
        pads = window.pads(*size)
        every = _grid(window, (size[0] + sum(pads[0]), size[1] + sum(pads[1])), positions)
        x = self._from_start(self._padded(node.inputs[0], pads), every, window.stride)
        return self._patches(x, window, every, b"VALID")

    def _fixed_patches(self, node: Node, window: Window, seen: Pair, positions: int) -> Ref:
        """The same for images of any size, on a grid that suits the size seen and always starts in a corner."""
        x, padding = node.inputs[0], node.attrs["padding"]
        if padding == b"EXPLICIT":
            x, padding = self._padded(x, window.explicit), b"VALID"
        pads = window.pads(*seen)
        every = _grid(window, (seen[0] + sum(pads[0]), seen[1] + sum(pads[1])), positions)
        return self._patches(x, window, every, padding)

    def _patches(self, x: Ref, window: Window, every: Pair, padding: bytes) -> Ref:
        attrs = {
            "T": _FLOAT,
            "ksizes": (1, *window.size, 1),
            "strides": (1, window.stride[0] * every[0], window.stride[1] * every[1], 1),
            "rates": (1, *window.dilation, 1),
            "padding": padding,
        }
        return self._add("ExtractImagePatches", (x,), attrs)

    def _padded(self, x: Ref, pads: tuple[Pair, Pair]) -> Ref:
        if not any(map(any, pads)):
            return x
        amounts = self._const(np.array([(0, 0), *pads, (0, 0)], np.int32))
        return self._add("Pad", (x, amounts), {"T": _FLOAT, "Tpaddings": _INT32})

    def _from_start(self, x: Ref, every: Pair, strides: Pair) -> Ref:
        """The image from where the grid starts, which is told anew with each batch."""
        if every == (1, 1):
            return x
        start = self._add("Placeholder", (), {"dtype": _INT32, "shape": Shape((4,))})
        self._grids[start] = (every, strides)
        return self._add("Slice", (x, start, self._const(np.full(4, -1, np.int32))), {"T": _FLOAT, "Index": _INT32})

    def _product(self, rows: Ref, op: str) -> Ref:
        """rowsᵀ · rows for float32 [..., R, K], with a one behind each row."""
        behind = np.zeros((3 if op == "BatchMatMulV2" else 2, 2), np.int32)
        behind[-1, 1] = 1
        inputs = (rows, self._const(behind), self._const(np.float32(1)))
        longer = self._add("PadV2", inputs, {"T": _FLOAT, "Tpaddings": _INT32})
        first, second = ("adj_x", "adj_y") if op == "BatchMatMulV2" else ("transpose_a", "transpose_b")
        return self._add(op, (longer, longer), {"T": _FLOAT, first: True, second: False})

    def _reshape(self, x: Ref, *shape: int) -> Ref:
        target = self._const(np.array(shape, np.int32))
        return self._add("Reshape", (x, target), {"T": _FLOAT, "Tshape": _INT32})

    def _add(self, op: str, inputs: tuple[Ref, ...], attrs: Mapping[str, Attr]) -> Ref:
        self._nodes.append(Node(f"eightfold_gram/{len(self._nodes)}", op, inputs, attrs))
        return self._nodes[-1].ref

    def _const(self, value: npt.ArrayLike) -> Ref:
        self._nodes.append(const_node(f"eightfold_gram/{len(self._nodes)}", value))
        return self._nodes[-1].ref


def _grid(window: Window, size: Pair, positions: int) -> Pair:
    """Every how many rows and columns of the result one is taken, for about the number of positions that is wanted."""
    high, wide = (
        (length - (taps - 1) * dilation - 1) // stride + 1
        for length, taps, dilation, stride in zip(size, window.size, window.dilation, window.stride, strict=True)
    )
    step = max(round(math.sqrt(high * wide / positions)), 1)
    return min(step, high), min(step, wide)
