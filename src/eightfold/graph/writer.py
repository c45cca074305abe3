"""Writes small float models by hand: examples of rewrites and tests.

w = Writer()
x = w.input("x", (None, 8, 8, 4))
y = w.relu(w.conv(x, 16))
model = w.model(y=y)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec

__all__ = ["Writer"]

_FLOAT = DType("float32")


class Writer:
    """A float graph in the making. Weights are drawn from a seeded normal distribution."""

    def __init__(self, seed: int = 0) -> None:
        self._nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._inputs: dict[str, TensorSpec] = {}
        self._random = np.random.default_rng(seed)

    def input(self, name: str, shape: Iterable[int | None], dtype: str = "float32") -> Ref:
        dims = Shape(shape)
        self._nodes.append(Node(name, "Placeholder", (), {"dtype": DType(dtype), "shape": dims}))
        self._inputs[name] = TensorSpec(Ref(name), DType(dtype), dims)
        return Ref(name)

    def const(self, value: Array | float | Iterable[int], name: str = "const") -> Ref:
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        node = const_node(self._unique(name), array)
        self._nodes.append(node)
        return node.ref

    def node(self, op: str, *inputs: Ref, attrs: Mapping[str, Attr] | None = None, name: str = "") -> Ref:
        """Any node; `T` is float32 unless given."""
        node = Node(self._unique(name or op.lower()), op, inputs, {"T": _FLOAT, **(attrs or {})})
        self._nodes.append(node)
        return node.ref

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        values: Array = (self._random.standard_normal(shape) * scale).astype(np.float32)
        return values

    def conv(
        self,
        x: Ref,
        weight: Array,
        *,
        strides: int = 1,
        padding: str = "SAME",
        dilation: int = 1,
        depthwise: bool = False,
        **attrs: Attr,
    ) -> Ref:
        """Conv2D or DepthwiseConv2dNative with a constant weight [H, W, I, O]."""
        op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        geometry = {
            "strides": (1, strides, strides, 1),
            "dilations": (1, dilation, dilation, 1),
            "padding": padding.encode(),
            "data_format": b"NHWC",
        }
        return self.node(op, x, self.const(weight, "weight"), attrs={**geometry, **attrs}, name="conv")

    def bias(self, x: Ref, value: Array) -> Ref:
        return self.node("BiasAdd", x, self.const(value, "bias"), attrs={"data_format": b"NHWC"}, name="biased")

    def matmul(self, x: Ref, weight: Array, **attrs: Attr) -> Ref:
        transposes = {"transpose_a": False, "transpose_b": False}
        return self.node("MatMul", x, self.const(weight, "weight"), attrs={**transposes, **attrs})

    def model(self, **outputs: Ref) -> Model:
        """The finished model with one signature; output dtypes are taken to be float32."""
        specs = {key: TensorSpec(ref, _FLOAT, Shape.UNKNOWN) for key, ref in outputs.items()}
        signature = Signature("serving_default", dict(self._inputs), specs)
        return Model(Graph(self._nodes), {signature.name: signature}, "written by hand")

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name
