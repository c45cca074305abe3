"""The mean of what a layer holds before its activation, in the float graph and in the 8-bit graph.

A product is linear: the mean of its results follows from the mean of its inputs, taken place by place so that padding
counts as it should. So no 8-bit kernel has to be opened, and none has to be run to know the mean of its own sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, DType, Graph, Node, Ref
from eightfold.graph.pattern import Match
from eightfold.graph.reference.elementwise import numpy_dtype
from eightfold.graph.reference.quantization import scaled_step
from eightfold.graph.reference.window import window_of
from eightfold.rewrites.kernels import CONV, DEPTHWISE
from eightfold.rewrites.matmul import FLOAT_PRODUCT

__all__ = ["BiasedSum", "biased_sum", "float_preactivation", "mean_over_examples"]

_ADDS = ("BiasAdd", "Add", "AddV2")
_FUSED_PRODUCT = "_QuantizedMatMul"


def float_preactivation(match: Match) -> Ref | None:
    """The float tensor that the product of a match has become, bias and summand added, when its activation reads it.

    `None` where the match has no product of its own.
    """
    node = match.named.get("conv") or match.named.get("matmul")
    while node is not None:
        readers = {user.name: user for user in match.graph.users_of(node.ref) if user.name in match.nodes}
        following = next(iter(readers.values()), None)
        if len(readers) != 1 or following is None or following.op not in _ADDS:
            return node.ref
        node = following
    return None


def mean_over_examples(values: Array) -> Array:
    """float64 [...]: the mean over the first axis, NaN where it is empty; codes count as the integers they are."""
    plain = values.view(values.dtype[0]) if values.dtype.fields else values  # as TensorFlow hands out quantized types
    total = plain.sum(axis=0, dtype=np.int64 if plain.dtype.kind in "iu" else np.float64)
    with np.errstate(invalid="ignore"):
        mean: Array = total / len(plain)
    return mean


@dataclass(frozen=True)
class BiasedSum:
    """A place where an 8-bit graph adds a bias to a product.

    Attributes:
        node: what adds it: a fused kernel, or the `AddV2` behind a product in float.
        position: of the bias among its inputs.
        reads: the tensors that decide the mean of the sum: the data, and a summand.
    """

    node: Node
    position: int
    reads: tuple[Ref, ...]

    @property
    def bias(self) -> Ref:
        return self.node.inputs[self.position]

    @property
    def holds_offset(self) -> bool:
        """Whether the bias also puts the codes of the result higher, where these have an offset."""
        return self.node.op in (CONV, DEPTHWISE)

    def mean(self, graph: Graph, means: Mapping[Ref, Array]) -> Array:
        """float64 [C]: the mean of the sum without its bias, as the kernel counts: its codes have no zero point.

        Args:
            graph: where the node is.
            means: of the tensors read, over the examples: [H, W, C] or [C], in codes unless they are float.
        """
        data, *summand = (means[ref] for ref in self.reads)
        if self.node.op not in (CONV, DEPTHWISE, _FUSED_PRODUCT):
            return data
        x_step, weight_step, *summand_step = _steps(graph, self.node, len(self.reads))
        total = _product(self.node, data, graph[self.node.inputs[1]].value) * x_step * weight_step
        for codes, step in zip(summand, summand_step, strict=True):
            total = total + codes.mean(axis=(0, 1)) * step
        return np.asarray(total)


def biased_sum(graph: Graph, name: str) -> BiasedSum | None:
    """The sum that a node of an 8-bit graph adds a constant bias to; `None` where it adds none."""
    node = graph[name]
    if node.op in (CONV, DEPTHWISE):
        return BiasedSum(node, 2, (node.inputs[0], node.inputs[3]) if _adds(node) else node.inputs[:1])
    if node.op == _FUSED_PRODUCT:
        return BiasedSum(node, 2, node.inputs[:1])
    if node.op in _ADDS and _scales_product(graph, graph[node.inputs[0]]):
        return BiasedSum(node, 1, node.inputs[:1])
    return None


def _adds(kernel: Node) -> bool:
    return b"Sum" in kernel.attrs["fused_ops"]


def _scales_product(graph: Graph, node: Node) -> bool:
    return node.op == "Mul" and graph[node.inputs[0]].op == FLOAT_PRODUCT


def _steps(graph: Graph, kernel: Node, count: int) -> Iterator[Array]:
    """What a code is worth, by the ranges that a kernel is told: of data, weight and, where `count` is 2, summand."""
    attrs = kernel.attrs
    data: DType = attrs["T1"] if kernel.op == _FUSED_PRODUCT else attrs["Tinput"]
    ranges = [graph[ref].value for ref in kernel.inputs[2 + count :]]
    for index, kind in enumerate((data, DType("qint8"), DType("quint8"))[: 1 + count]):
        yield scaled_step(ranges[2 * index], ranges[2 * index + 1], numpy_dtype(kind))


def _product(kernel: Node, data: Array, weight: Array) -> Array:
    """float64 [C]: the mean over all places of what a kernel multiplies; both operands in codes."""
    if data.ndim == 1:
        return np.asarray(data @ weight.astype(np.float64))
    window = window_of(kernel, (weight.shape[0], weight.shape[1]))
    total: Array = np.zeros(())
    for i, j, seen in window.taps(data[np.newaxis], 0.0):
        mean, tap = seen.mean(axis=(0, 1, 2)), weight[i, j].astype(np.float64)
        total = total + (mean[:, np.newaxis] * tap if kernel.op == DEPTHWISE else mean @ tap)
    return total.reshape(-1)
