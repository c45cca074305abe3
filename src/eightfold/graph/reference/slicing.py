"""Ops that pick elements out."""

from __future__ import annotations

from types import EllipsisType
from typing import TypeAlias

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes

__all__: list[str] = []

Index: TypeAlias = "int | slice | EllipsisType | None"


@computes("Slice")
def _slice(node: Node, x: Array, begin: Array, size: Array) -> Array:
    del node
    spans = zip(begin.tolist(), size.tolist(), strict=True)
    return x[tuple(slice(start, None if length < 0 else start + length) for start, length in spans)]


@computes("StridedSlice")
def _strided_slice(node: Node, x: Array, begin: Array, end: Array, strides: Array) -> Array:
    spans = zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)
    return np.asarray(x[tuple(_index(node, place, *span) for place, span in enumerate(spans))])


def _index(node: Node, place: int, begin: int, end: int, stride: int) -> Index:
    def masked(name: str) -> bool:
        return bool(node.attrs.get(name, 0) >> place & 1)

    if masked("ellipsis_mask"):
        return ...
    if masked("new_axis_mask"):
        return None
    if masked("shrink_axis_mask"):
        return begin
    return slice(None if masked("begin_mask") else begin, None if masked("end_mask") else end, stride)


@computes("GatherV2")
def _gather(node: Node, x: Array, indices: Array, axis: Array) -> Array:
    batch = node.attrs.get("batch_dims", 0)
    if not batch:
        return np.take(x, indices, axis=int(axis))
    parts = zip(x, indices, strict=True)
    deeper = node.with_attrs(batch_dims=batch - 1)
    inner = axis - 1 if axis > 0 else axis
    return np.stack([_gather(deeper, part, index, inner) for part, index in parts])


@computes("Split")
def _split(node: Node, axis: Array, x: Array) -> tuple[Array, ...]:
    return tuple(np.split(x, node.attrs["num_split"], axis=int(axis)))


@computes("SplitV")
def _split_sizes(node: Node, x: Array, sizes: Array, axis: Array) -> tuple[Array, ...]:
    del node
    length, known = x.shape[int(axis)], sizes[sizes >= 0].sum()
    sizes = np.where(sizes < 0, length - known, sizes)
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=int(axis)))


@computes("Unpack")
def _unpack(node: Node, x: Array) -> tuple[Array, ...]:
    return tuple(np.moveaxis(x, node.attrs.get("axis", 0), 0))
