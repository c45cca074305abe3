"""Matrix products of numbers."""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes

__all__: list[str] = []


def _product(x: Array, y: Array, transpose_x: bool, transpose_y: bool) -> Array:
    x64 = (np.swapaxes(x, -1, -2) if transpose_x else x).astype(np.float64)
    y64 = (np.swapaxes(y, -1, -2) if transpose_y else y).astype(np.float64)
    return np.asarray(x64 @ y64).astype(x.dtype)


@computes("MatMul")
def _matmul(node: Node, x: Array, y: Array) -> Array:
    return _product(x, y, node.attrs.get("transpose_a", False), node.attrs.get("transpose_b", False))


@computes("BatchMatMul", "BatchMatMulV2")
def _batch_matmul(node: Node, x: Array, y: Array) -> Array:
    return _product(x, y, node.attrs.get("adj_x", False), node.attrs.get("adj_y", False))


@computes("Einsum")
def _einsum(node: Node, *operands: Array) -> Array:
    doubles = [operand.astype(np.float64) for operand in operands]
    result = np.einsum(node.attrs["equation"].decode(), *doubles, optimize=True)
    return np.asarray(result).astype(operands[0].dtype)
