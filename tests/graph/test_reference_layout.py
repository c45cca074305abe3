"""Ops that move elements, and casts, against TensorFlow: exactly equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, OneOp

from eightfold.graph.ir import Array, Attr, DType

INT = DType("int32")
X: Array = np.arange(2 * 6 * 4 * 3, dtype=np.float32).reshape(2, 6, 4, 3)


def ints(*values: int) -> Array:
    return np.array(values, np.int32)


def check(op: str, data: Array, parameters: list[Array] | None = None, outputs: int = 1, **attrs: Attr) -> None:
    graph = OneOp()
    ref = graph.add(op, [graph.fed(data), *(graph.const(value) for value in parameters or [])], **attrs)
    expected, actual = graph.both(*(type(ref)(ref.node, port) for port in range(outputs)))
    for ours, theirs in zip(expected, actual, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_shapes() -> None:
    check("Reshape", X, [ints(4, -1)], T=FLOAT, Tshape=INT)
    check("ExpandDims", X, [ints(-2)], T=FLOAT, Tdim=INT)
    check("Squeeze", X[:1, :, :1], T=FLOAT, squeeze_dims=(0,))
    check("Squeeze", X[:1, :, :1], T=FLOAT, squeeze_dims=())
    check("Transpose", X, [ints(0, 3, 1, 2)], T=FLOAT, Tperm=INT)
    check("Shape", X, T=FLOAT, out_type=DType("int64"))
    check("Tile", X, [ints(1, 2, 1, 3)], T=FLOAT, Tmultiples=INT)
    check("BroadcastTo", X[:, :1], [ints(2, 6, 4, 3)], T=FLOAT, Tidx=INT)


def test_joining() -> None:
    graph = OneOp()
    parts = [graph.fed(X), graph.fed(X + 1)]
    concat = graph.add("ConcatV2", [*parts, graph.const(ints(-1)[0])], T=FLOAT, Tidx=INT, N=2)
    packed = graph.add("Pack", parts, T=FLOAT, N=2, axis=1)
    for ours, theirs in zip(*graph.both(concat, packed), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_padding() -> None:
    pads = np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)
    check("Pad", X, [pads], T=FLOAT, Tpaddings=INT)
    check("PadV2", X, [pads, np.float32(-3)], T=FLOAT, Tpaddings=INT)
    check("MirrorPad", X, [pads], T=FLOAT, Tpaddings=INT, mode=b"REFLECT")
    check("MirrorPad", X, [pads], T=FLOAT, Tpaddings=INT, mode=b"SYMMETRIC")


@given(begin=st.integers(-6, 5), end=st.integers(-6, 6), stride=st.sampled_from([1, 2, -1]))
def test_strided_slice(begin: int, end: int, stride: int) -> None:
    masks = {"begin_mask": 1, "end_mask": 1, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
    spans = [ints(0, begin), ints(0, end), ints(1, stride)]
    check("StridedSlice", X, spans, T=FLOAT, Index=INT, **masks)


def test_strided_slice_masks() -> None:
    masks = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 2, "new_axis_mask": 4, "shrink_axis_mask": 1}
    check("StridedSlice", X, [ints(1, 0, 0, 1), ints(2, 0, 0, 3), ints(1, 1, 1, 1)], T=FLOAT, Index=INT, **masks)


def test_picking() -> None:
    check("Slice", X, [ints(0, 1, 0, 1), ints(-1, 3, 2, 2)], T=FLOAT, Index=INT)
    types = {"Tparams": FLOAT, "Tindices": INT, "Taxis": INT}
    check("GatherV2", X, [np.array([[0, 2], [5, 1]], np.int32), np.int32(1)], batch_dims=0, **types)
    check("GatherV2", X, [np.array([[0, 2], [5, 1]], np.int32), np.int32(1)], batch_dims=1, **types)
    check("SplitV", X, [ints(1, -1, 2), np.int32(1)], 3, T=FLOAT, Tlen=INT, num_split=3)
    check("Unpack", X, None, 3, T=FLOAT, num=3, axis=-1)


def test_split() -> None:
    graph = OneOp()
    split = graph.add("Split", [graph.const(np.int32(2)), graph.fed(X)], T=FLOAT, num_split=2)
    for ours, theirs in zip(*graph.both(split, type(split)(split.node, 1)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("rows", "columns"), [(12, 8), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize(("align", "half"), [(False, False), (False, True), (True, False)])
def test_resize_nearest(rows: int, columns: int, align: bool, half: bool) -> None:
    options = {"align_corners": align, "half_pixel_centers": half}
    check("ResizeNearestNeighbor", X, [ints(rows, columns)], T=FLOAT, **options)


def test_space_to_batch_and_back() -> None:
    types = {"T": FLOAT, "Tblock_shape": INT}
    edges = np.array([[1, 1], [0, 2]], np.int32)
    check("SpaceToBatchND", X, [ints(2, 3), edges], Tpaddings=INT, **types)
    apart = np.arange(12 * 4 * 2 * 3, dtype=np.float32).reshape(12, 4, 2, 3)
    check("BatchToSpaceND", apart, [ints(2, 3), edges], Tcrops=INT, **types)


@pytest.mark.parametrize("target", ["int32", "uint8", "float64", "bool"])
def test_cast_drops_the_fraction(target: str) -> None:
    check("Cast", np.abs(X) * 0.7, SrcT=FLOAT, DstT=DType(target))


@pytest.mark.parametrize(
    ("source", "target", "last"), [("uint8", "int8", 8), ("uint8", "int32", 4), ("int32", "uint8", 3)]
)
def test_bitcast_between_sizes(source: str, target: str, last: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, last)).astype(source)
    check("Bitcast", values, T=DType(source), type=DType(target))
