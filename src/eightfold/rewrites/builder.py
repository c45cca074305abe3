"""Writes the 8-bit graph node by node; quantizes, converts and dequantizes each tensor once."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from eightfold.graph.edit import const_node
from eightfold.graph.encoding import Code, Encoding, encoding_of
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.rewrites.correction import Correction, Corrections
from eightfold.rewrites.kernels import requantize
from eightfold.rewrites.weights import Weight, quantize_weight

__all__ = ["FLOAT", "QUANTIZE", "Builder", "Coded", "WeightForm"]

FLOAT = DType("float32")
QUANTIZE: Mapping[str, Attr] = {
    "axis": -1,
    "ensure_minimum_range": 0.0,  # the default widens every range narrower than 0.01
    "mode": b"MIN_COMBINED",  # the only mode whose numbers do not depend on which kernel TensorFlow picks
    "round_mode": b"HALF_AWAY_FROM_ZERO",
    "narrow_range": False,
}
_NO_CORRECTION = Correction()
_DEQUANTIZE = {"axis": -1, "mode": b"MIN_COMBINED", "narrow_range": False, "dtype": FLOAT}


@dataclass(frozen=True, slots=True)
class Coded:
    """A tensor of codes, and what they stand for."""

    ref: Ref
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class WeightForm:
    """How weights are rounded: bits, and whether each output channel has a scale of its own."""

    bits: int = 8
    per_channel: bool = True


class Builder:
    """The graph being written beside the float graph being read.

    Float tensors keep the `Ref`s of the float graph. Each may exist in the new graph as a float tensor (`real`), as
    codes (`coded`), or both; whichever form is asked for and missing is written then, once.

    Args:
        source: the float graph.
        encodings: the encoding of each float tensor that is held in 8 bits.
        shape_of: the static shape of a float tensor.
        reserved: names of float nodes that will be copied.
        weight_form: by the name of the node that owns the weight.
        corrections: by the name of the step.
    """

    def __init__(
        self,
        source: Graph,
        encodings: Mapping[Ref, Encoding],
        shape_of: Callable[[Ref], Shape],
        reserved: Container[str] = (),
        weight_form: Callable[[str], WeightForm] = lambda _: WeightForm(),
        corrections: Corrections | None = None,
    ) -> None:
        self.source = source
        self.shape_of = shape_of
        self._reserved = reserved
        self.encodings = encodings
        self.weight_form = weight_form
        self._corrections = corrections or {}
        self._nodes: dict[str, Node] = {}
        self._real: dict[Ref, Ref] = {}
        self._coded: dict[Ref, list[Coded]] = {}
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], Ref] = {}

    # --- plain nodes ------------------------------------------------------------------------------------------

    def add(self, op: str, name: str, inputs: Iterable[Ref] = (), attrs: Mapping[str, Attr] | None = None) -> Ref:
        """Writes a node under a name made unique; returns its first output."""
        node = Node(self._unique(name), op, tuple(inputs), dict(attrs or {}))
        self._nodes[node.name] = node
        return node.ref

    def copy(self, node: Node) -> None:
        """Writes a float node as it is, reading float tensors."""
        self.put(node.but(inputs=tuple(self.real(ref) for ref in node.inputs)))

    def put(self, node: Node) -> None:
        """Writes a node under its own name."""
        self._nodes[node.name] = node

    def const(self, name: str, value: Array, dtype: DType | None = None) -> Ref:
        """A constant; one node serves all that need the same value."""
        array = np.asarray(value)
        kind = dtype or DType(array.dtype.name)
        key = (str(kind), array.tobytes(), array.shape)
        if key not in self._constants:
            node = const_node(self._unique(name), array, kind)
            self._nodes[node.name] = node
            self._constants[key] = node.ref
        return self._constants[key]

    def bounds(self, lo: float | Array, hi: float | Array) -> tuple[Ref, Ref]:
        """The two float32 constants by which a kernel is told a range."""
        low, high = np.asarray(lo, np.float32), np.asarray(hi, np.float32)
        return self.const("range/min", low), self.const("range/max", high)

    def kernel_range(self, encoding: Encoding) -> tuple[Ref, Ref]:
        return self.bounds(*encoding.kernel_range)

    def graph(self) -> Graph:
        """What has been written."""
        return self.source.with_nodes(self._nodes.values())

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._nodes or candidate in self._reserved:
            candidate, count = f"{name}_{count}", count + 1
        return candidate

    # --- tensors in both forms --------------------------------------------------------------------------------

    def give(self, ref: Ref, coded: Ref, encoding: Encoding | None = None) -> None:
        """Says that codes written stand for a float tensor."""
        self._coded.setdefault(ref, []).append(Coded(coded, encoding or self.encodings[ref]))

    def give_real(self, ref: Ref, real: Ref) -> None:
        """Says that a float tensor written stands for one of the source."""
        self._real[ref] = real

    def real(self, ref: Ref) -> Ref:
        """The float form of a tensor."""
        if ref in self._real:
            return self._real[ref]
        if ref in self._coded:
            coded = self._coded[ref][0]
            self._real[ref] = self.dequantized(ref.node, coded.ref, coded.encoding)
            return self._real[ref]
        return ref

    def any_form(self, ref: Ref) -> tuple[Ref, DType | None]:
        """Codes where there are any, else the float form; for ops that only look at the shape."""
        if ref in self._coded:
            coded = self._coded[ref][0]
            return coded.ref, coded.encoding.dtype
        return self.real(ref), None

    def coded(self, ref: Ref, accepted: Code = Code.ANY, like: Encoding | None = None) -> Coded:
        """The codes of a tensor in an encoding that the reader takes.

        Args:
            ref: a tensor of the float graph.
            accepted: codings that will do.
            like: exactly this encoding, where only one will do.
        """
        for coded in self._coded.get(ref, ()):
            if coded.encoding == like if like else coded.encoding.code & accepted:
                return coded
        target = like or self._target(ref, accepted)
        source = next(iter(self._coded.get(ref, ())), None)
        written = self._quantized(ref, target) if source is None else self._converted(ref, source, target)
        self.give(ref, written.ref, target)
        return written

    def _target(self, ref: Ref, accepted: Code) -> Encoding:
        encoding = self.encodings[ref]
        if encoding.code & accepted:
            return encoding
        values = encoding.range
        if Code.UNSIGNED in accepted and not values.signed:
            return encoding_of(values, Code.UNSIGNED)
        return encoding_of(values, Code.OFFSET if Code.OFFSET in accepted else Code.SIGNED)

    def _quantized(self, ref: Ref, encoding: Encoding) -> Coded:
        real = self._real.setdefault(ref, self.real(ref))  # float readers go on reading what was there before the codes
        inputs = (real, *self._full_range(encoding))
        attrs = {**QUANTIZE, "T": encoding.dtype}
        return Coded(self.add("QuantizeV2", f"{ref.node}/quantize", inputs, attrs), encoding)

    def dequantized(self, name: str, codes: Ref, encoding: Encoding) -> Ref:
        """Writes a Dequantize."""
        attrs = {**_DEQUANTIZE, "T": encoding.dtype}
        return self.add("Dequantize", f"{name}/dequantize", (codes, *self._full_range(encoding)), attrs)

    def _full_range(self, encoding: Encoding) -> tuple[Ref, Ref]:
        """The numbers that the lowest and the highest code of the dtype stand for."""
        low, high = (-128, 127) if encoding.code is Code.SIGNED else (-encoding.zero, 255 - encoding.zero)
        return self.bounds(low * encoding.step, high * encoding.step)

    def coded_constant(self, name: str, value: Array, encoding: Encoding) -> Coded:
        """A constant as codes."""
        return Coded(self.const(name, encoding.quantize(value), encoding.dtype), encoding)

    def _converted(self, ref: Ref, source: Coded, target: Encoding) -> Coded:
        """Codes of one encoding as codes of another: in one pass over images, through float otherwise."""
        shape = self.shape_of(ref)
        if shape.known_rank and len(shape) == 4 and shape[3] is not None:
            return Coded(requantize(self, f"{ref.node}/requantize", source, shape[3], target), target)
        return self._quantized(ref, target)

    # --- weights ----------------------------------------------------------------------------------------------

    def weight(self, step: str, owner: str, value: Array, axes: tuple[int, ...]) -> Weight:
        """The weight of a step, owned by one of its nodes, rounded as the recipe and the corrections say."""
        form = self.weight_form(owner)
        rounded = quantize_weight(value, axes, per_channel=form.per_channel, bits=form.bits)
        learned = self.correction(step).codes
        return rounded if learned is None else replace(rounded, codes=learned)

    def correction(self, step: str) -> Correction:
        """What was learned about the constants of a step."""
        return self._corrections.get(step, _NO_CORRECTION)
