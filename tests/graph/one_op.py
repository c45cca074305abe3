"""A graph around one op, run by TensorFlow and by the NumPy reference on the same values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.graph.reference import evaluate
from lowering import OF_THIS_CPU

FLOAT = DType("float32")
_HELD_AS = {"quint8": "uint8", "qint8": "int8"}


class OneOp:
    """Collects nodes; data is fed, since TensorFlow has other kernels for constants, or folds them away."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._feeds: dict[Ref, Array] = {}

    def fed(self, value: Array, dtype: str | None = None) -> Ref:
        """A tensor whose value is fed; quantized ones as integers behind a `Bitcast`."""
        held_as = DType(_HELD_AS.get(dtype or "", value.dtype.name))
        source = self._put("Placeholder", (), {"dtype": held_as, "shape": Shape(value.shape)})
        self._feeds[source] = value
        if dtype in _HELD_AS:
            return self._put("Bitcast", (source,), {"T": held_as, "type": DType(dtype)})
        return source

    def const(self, value: Array | float, dtype: str | None = None) -> Ref:
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        node = const_node(f"n{len(self._nodes)}", array, DType(dtype) if dtype else None)
        self._nodes.append(node)
        return node.ref

    def add(self, op: str, inputs: Iterable[Ref], **attrs: Attr) -> Ref:
        return self._put(op, tuple(inputs), attrs)

    def both(self, *fetches: Ref) -> tuple[list[Array], list[Array]]:
        """What the reference computes and what TensorFlow does; of several of this CPU the one that is closer."""
        from eightfold.tf.session import Runner

        graph = Graph(self._nodes)
        with Runner(graph) as run:
            actual = run(fetches, self._feeds)
        found = [evaluate(graph, fetches, self._feeds, kernels=kernels) for kernels in OF_THIS_CPU]
        return min(found, key=lambda values: _apart(values, actual)), actual

    def _put(self, op: str, inputs: tuple[Ref, ...], attrs: dict[str, Attr]) -> Ref:
        node = Node(f"n{len(self._nodes)}", op, inputs, attrs)
        self._nodes.append(node)
        return node.ref


def compare(op: str, *data: Array, parameters: Iterable[Array | float] = (), **attrs: Attr) -> None:
    """Asserts that the reference of a float op agrees with TensorFlow; data is fed, parameters constant."""
    graph = OneOp()
    inputs = [graph.fed(value) for value in data] + [graph.const(value) for value in parameters]
    (expected,), (actual,) = graph.both(graph.add(op, inputs, **attrs))
    assert expected.shape == actual.shape
    assert expected.dtype == actual.dtype
    np.testing.assert_allclose(expected, actual, rtol=2e-5, atol=2e-5)


def _apart(values: Sequence[Array], others: Sequence[Array]) -> float:
    """The largest difference, of tensors that can have one."""
    same = [(v, o) for v, o in zip(values, others, strict=True) if v.shape == o.shape]
    return max((float(np.abs(v.astype(float) - o.astype(float)).max(initial=0)) for v, o in same), default=0.0)


def assert_same_codes(expected: Array, actual: Array) -> None:
    """At most one step apart, and equal but for one in a thousand."""
    assert expected.dtype == actual.dtype
    assert expected.shape == actual.shape
    apart = np.abs(expected.astype(np.int64) - actual.astype(np.int64))
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= math.ceil(apart.size / 1000)
