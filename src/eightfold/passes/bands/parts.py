"""Gives rows and channels of tensors, from whatever bands these are computed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref
from eightfold.passes.bands.geometry import Need, Size, Span, tile
from eightfold.passes.bands.operands import plain
from eightfold.passes.bands.plan import CHANNELS, ROWS, Cut

__all__ = ["INT32", "Parts"]

INT32 = DType("int32")


class Parts:
    """Bands of tensors, and pieces of them, each written once.

    A tensor whose bands follow each other is also there in one piece, under its own name, for whoever reads the whole.

    Attributes:
        sizes: of the images of the graph.
    """

    def __init__(self, edit: Edit, sizes: Mapping[Ref, Size], dtypes: Mapping[Ref, DType]) -> None:
        self._edit, self.sizes, self._dtypes = edit, sizes, dtypes
        self._bands: dict[Ref, tuple[Cut, tuple[Ref, ...]]] = {}
        self._slices: dict[tuple[Ref, int, int, int], Ref] = {}
        self._joins: dict[tuple[Ref, ...], Ref] = {}
        self._constants: dict[tuple[int, ...], Ref] = {}
        self._shares: dict[tuple[Ref, Span], Ref] = {}

    @property
    def graph(self) -> Graph:
        """The graph before it was cut."""
        return self._edit.graph

    def compute(
        self, node: Node, part: int, inputs: Sequence[Ref], attrs: Mapping[str, Attr], control: Sequence[str]
    ) -> Ref:
        """Writes what computes one band of a node's result.

        The ranges that a node gives are read off its first band: all bands give those that the kernel was told.
        """
        ref = self._edit.add(node.op, f"{node.name}/band_{part}", inputs, attrs)
        if part == 0:
            for port in (1, 2):
                self._edit.redirect(Ref(node.name, port), Ref(ref.node, port))
        if control:
            self._edit.change(self._edit.node(ref).but(control=tuple(control)))
        return ref

    def put(self, node: Node, cut: Cut, bands: Sequence[Ref]) -> None:
        """Takes the bands of a node's result for it."""
        self._bands[node.ref] = cut, tuple(bands)
        height, _, channels = self.sizes[node.ref]
        if tile(cut.bands, height if cut.axis == ROWS else channels):
            self._edit.change(self._joined(node.name, bands, cut.axis, self._dtypes[node.ref]))

    def bands(self, ref: Ref, axis: int) -> Sequence[Ref]:
        """The bands of a tensor that is cut along an axis; else itself."""
        cut, bands = self._bands.get(ref, (None, ()))
        return bands if cut is not None and cut.axis == axis else (ref,)

    def rows(self, ref: Ref, part: int, need: Need) -> Ref:
        """Rows of a tensor, for one part. Harmless rows below them may be among them."""
        span, dtype = (need.first, need.last), self._dtypes[ref]
        cut, bands = self._bands.get(ref, (None, ()))
        if cut is None or cut.axis == CHANNELS:
            return ref if span == (0, self.sizes[ref][0]) else self._slice(ref, ROWS, span, 0, dtype)
        own = cut.bands[part]
        if own[0] == span[0] and span[1] <= own[1] <= span[1] + need.slack:
            return bands[part]
        inside = own[0] <= span[0] and span[1] <= own[1]
        pieces = [
            self._within(bands[k], cut.bands[k], span, dtype)
            for k in ([part] if inside else range(len(bands)))
            if max(cut.bands[k][0], span[0]) < min(cut.bands[k][1], span[1])
        ]
        return self._join(ref, span, tuple(pieces), dtype)

    def channels(self, ref: Ref, part: int, span: Span) -> Ref:
        """Some channels of a tensor, for one part."""
        cut, bands = self._bands.get(ref, (None, ()))
        if cut is not None and cut.axis == CHANNELS and cut.bands[part] == span:
            return bands[part]
        return self._slice(ref, CHANNELS, span, 0, self._dtypes[ref])

    def share(self, ref: Ref, axis: int, span: Span) -> Ref:
        """Some channels of a constant; one number is for all channels."""
        node = self.graph[ref]
        if node.value.size == 1:
            return ref
        if (ref, span) not in self._shares:
            value = np.ascontiguousarray(node.value[(slice(None),) * axis + (slice(*span),)])
            name = f"{node.name}/channels_{span[0]}_{span[1]}"
            self._shares[ref, span] = self._edit.const(name, value, node.attrs["dtype"])
        return self._shares[ref, span]

    def constant(self, value: Array) -> Ref:
        """An axis, a shape or paddings, as int32."""
        key = (*value.shape, *value.ravel().tolist())
        if key not in self._constants:
            self._constants[key] = self._edit.const("bands/const", value.astype(np.int32))
        return self._constants[key]

    def inner_rows(self, ref: Ref, span: Span, dtype_of: Ref) -> Ref:
        """Rows of a band that was computed with more of them than wanted."""
        return self._slice(ref, ROWS, span, 0, self._dtypes[dtype_of])

    def _within(self, band: Ref, has: Span, span: Span, dtype: DType) -> Ref:
        """The rows of a span that a band has."""
        first, last = max(has[0], span[0]), min(has[1], span[1])
        return band if (first, last) == has else self._slice(band, ROWS, (first, last), has[0], dtype)

    def _join(self, ref: Ref, span: Span, pieces: tuple[Ref, ...], dtype: DType) -> Ref:
        if len(pieces) == 1:
            return pieces[0]
        if pieces == self._bands[ref][1]:
            return ref
        if pieces not in self._joins:
            node = self._joined(f"{ref.node}/rows_{span[0]}_{span[1]}", pieces, ROWS, dtype)
            self._joins[pieces] = self._edit.add(node.op, node.name, node.inputs, node.attrs)
        return self._joins[pieces]

    def _joined(self, name: str, pieces: Sequence[Ref], axis: int, dtype: DType) -> Node:
        inputs = (*pieces, self.constant(np.array(axis)))
        return Node(name, "ConcatV2", inputs, {"N": len(pieces), "T": dtype, "Tidx": INT32})

    def _slice(self, ref: Ref, axis: int, span: Span, start: int, dtype: DType) -> Ref:
        """A span of a tensor whose first index is `start`.

        As bytes, as all that moves codes: TensorFlow's kernels for codes are missing or slow, according to the version.
        """
        key = (ref, axis, *span)
        if key not in self._slices:
            name = f"{ref.node}/{'rows' if axis == ROWS else 'channels'}_{span[0]}_{span[1]}"
            begin, size = np.zeros(4, int), np.full(4, -1)
            begin[axis], size[axis] = span[0] - start, span[1] - span[0]
            places = [self.constant(begin), self.constant(size)]
            bytes_ = self._bitcast(f"{name}/bytes", ref, dtype, plain(dtype))
            part = self._edit.add("Slice", name, (bytes_, *places), {"Index": INT32, "T": plain(dtype)})
            self._slices[key] = self._bitcast(f"{name}/codes", part, plain(dtype), dtype)
        return self._slices[key]

    def _bitcast(self, name: str, ref: Ref, source: DType, target: DType) -> Ref:
        if source == target:
            return ref
        return self._edit.add("Bitcast", name, (ref,), {"T": source, "type": target})
