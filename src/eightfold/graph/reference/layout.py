"""Ops that move elements and compute nothing, but for slices: they work on numbers and codes alike."""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Array, Node
from eightfold.graph.reference.registry import computes

__all__: list[str] = []


@computes("Reshape")
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    del node
    return x.reshape(tuple(shape))


@computes("Squeeze")
def _squeeze(node: Node, x: Array) -> Array:
    return np.squeeze(x, axis=tuple(node.attrs.get("squeeze_dims", ())) or None)


@computes("ExpandDims")
def _expand_dims(node: Node, x: Array, axis: Array) -> Array:
    del node
    return np.expand_dims(x, int(axis.reshape(())))


@computes("Transpose")
def _transpose(node: Node, x: Array, permutation: Array) -> Array:
    del node
    return np.transpose(x, tuple(permutation))


@computes("ConcatV2")
def _concat(node: Node, *inputs: Array) -> Array:
    del node
    return np.concatenate(inputs[:-1], axis=int(inputs[-1]))


@computes("Pack")
def _pack(node: Node, *inputs: Array) -> Array:
    return np.stack(inputs, axis=node.attrs.get("axis", 0))


@computes("Shape")
def _shape(node: Node, x: Array) -> Array:
    return np.asarray(x.shape, str(node.attrs.get("out_type", "int32")))


@computes("Fill")
def _fill(node: Node, shape: Array, value: Array) -> Array:
    del node
    return np.full(tuple(shape), value)


@computes("Tile")
def _tile(node: Node, x: Array, multiples: Array) -> Array:
    del node
    return np.tile(x, tuple(multiples))


@computes("BroadcastTo")
def _broadcast_to(node: Node, x: Array, shape: Array) -> Array:
    del node
    return np.broadcast_to(x, tuple(shape))


@computes("Pad")
def _pad(node: Node, x: Array, paddings: Array) -> Array:
    del node
    return np.pad(x, paddings)


@computes("PadV2")
def _pad_with(node: Node, x: Array, paddings: Array, value: Array) -> Array:
    del node
    return np.pad(x, paddings, constant_values=value)


@computes("MirrorPad")
def _mirror_pad(node: Node, x: Array, paddings: Array) -> Array:
    return np.pad(x, paddings, mode="reflect" if node.attrs["mode"] == b"REFLECT" else "symmetric")


@computes("SpaceToBatchND")
def _space_to_batch(node: Node, x: Array, block: Array, paddings: Array) -> Array:
    """[N, s1, .., rest] -> [b1 * .. * N, s1 / b1, .., rest]: each phase of the grid becomes an image."""
    del node
    axes = len(block)
    around = ((0, 0), *paddings.tolist(), *((0, 0),) * (x.ndim - 1 - axes))
    x = np.pad(x, around)
    batch, spatial, rest = x.shape[0], x.shape[1 : 1 + axes], x.shape[1 + axes :]
    split = [n for length, b in zip(spatial, block, strict=True) for n in (length // b, b)]
    x = x.reshape(batch, *split, *rest)
    phases, cells = range(2, 2 * axes + 1, 2), range(1, 2 * axes, 2)
    x = x.transpose(*phases, 0, *cells, *range(2 * axes + 1, x.ndim))
    return x.reshape(-1, *(n // b for n, b in zip(spatial, block, strict=True)), *rest)


@computes("BatchToSpaceND")
def _batch_to_space(node: Node, x: Array, block: Array, crops: Array) -> Array:
    """The inverse of `SpaceToBatchND`."""
    del node
    axes = len(block)
    spatial, rest = x.shape[1 : 1 + axes], x.shape[1 + axes :]
    x = x.reshape(*block, -1, *spatial, *rest)
    interleaved = [axis for k in range(axes) for axis in (axes + 1 + k, k)]
    x = x.transpose(axes, *interleaved, *range(2 * axes + 1, x.ndim))
    full = [n * b for n, b in zip(spatial, block, strict=True)]
    x = x.reshape(-1, *full, *rest)
    kept = [slice(before, n - after) for (before, after), n in zip(crops.tolist(), full, strict=True)]
    return np.asarray(x[(slice(None), *kept)])


@computes("ResizeNearestNeighbor")
def _resize_nearest(node: Node, x: Array, size: Array) -> Array:
    rows, columns = (_nearest(node, int(new), old) for new, old in zip(size, x.shape[1:3], strict=True))
    picked: Array = np.take(np.take(x, rows, axis=1), columns, axis=2)
    return picked


def _nearest(node: Node, new: int, old: int) -> Array:
    """For each new index, the old one that it copies; in float32, as the kernel."""
    aligned = bool(node.attrs.get("align_corners", False)) and new > 1
    scale = np.float32((old - 1) / (new - 1) if aligned else old / new)
    half = np.float32(0.5 if node.attrs.get("half_pixel_centers", False) else 0.0)
    place = (np.arange(new, dtype=np.float32) + half) * scale
    index = np.floor(place + np.float32(0.5)) if aligned else np.floor(place)
    return np.asarray(np.clip(index, 0, old - 1)).astype(np.int64)
