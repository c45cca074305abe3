"""Channels-first graphs become channels-last, and compute the same.

TensorFlow's CPU kernels do not run most ops in NCHW: the expected values are those of the same net written in NHWC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from unchanged import context, kept, ops

from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.layout import to_nhwc
from eightfold.passes.share import share_nodes
from lowering import feeds_for, outputs_of

INT32 = DType("int32")
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


class Net:
    """Writes one net in either layout."""

    def __init__(self, first: bool) -> None:
        self.w = Writer()
        self.first = first
        self.x = self.w.input("x", (2, 4, 8, 6) if first else (2, 8, 6, 4))

    def axes(self, *values: Any) -> tuple[Any, ...]:
        """Values for N, H, W, C in the order of the layout."""
        return tuple(values[i] for i in TO_FIRST) if self.first else values

    def axis(self, of_nhwc: int) -> int:
        return TO_FIRST.index(of_nhwc) if self.first else of_nhwc

    @property
    def form(self) -> dict[str, bytes]:
        return {"data_format": b"NCHW" if self.first else b"NHWC"}

    def conv(self, x: Ref, channels: tuple[int, int], *, depthwise: bool = False, stride: int = 1) -> Ref:
        attrs = {"strides": self.axes(1, stride, stride, 1), "dilations": (1, 1, 1, 1), "padding": b"SAME"}
        weight = self.w.const(self.w.normal(3, 3, *channels, scale=0.2))
        op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        return self.w.node(op, x, weight, attrs={**attrs, **self.form})

    def explicit(self, x: Ref) -> Ref:
        pads = [amount for pair in self.axes((0, 0), (1, 2), (0, 1), (0, 0)) for amount in pair]
        attrs = {"strides": (1, 1, 1, 1), "padding": b"EXPLICIT", "explicit_paddings": tuple(pads), **self.form}
        return self.w.node("Conv2D", x, self.w.const(self.w.normal(3, 3, 4, 4)), attrs=attrs)

    def bias(self, x: Ref) -> Ref:
        return self.w.node("BiasAdd", x, self.w.const(self.w.normal(4)), attrs=self.form)

    def norm(self, x: Ref) -> Ref:
        w = self.w
        operands = [w.const(v) for v in (w.normal(4), w.normal(4), w.normal(4), np.abs(w.normal(4)) + 0.5)]
        attrs = {"epsilon": 1e-3, "is_training": False, "U": DType("float32"), **self.form}
        return w.node("FusedBatchNormV3", x, *operands, attrs=attrs)

    def pool(self, x: Ref, kind: str) -> Ref:
        attrs = {"ksize": self.axes(1, 3, 2, 1), "strides": self.axes(1, 2, 1, 1), "padding": b"SAME", **self.form}
        return self.w.node(kind, x, attrs=attrs)

    def constant(self, op: str, x: Ref) -> Ref:
        value = self.w.normal(4)
        return self.w.node(op, x, self.w.const(value.reshape(4, 1, 1) if self.first else value))

    def pad(self, x: Ref) -> Ref:
        amounts = np.array(self.axes((0, 0), (1, 2), (0, 1), (0, 0)), np.int32)
        return self.w.node("Pad", x, self.w.const(amounts), attrs={"Tpaddings": INT32})

    def concat(self, *parts: Ref) -> Ref:
        axis = self.w.const(self.axis(3))
        return self.w.node("ConcatV2", *parts, axis, attrs={"N": len(parts), "Tidx": INT32})

    def mean(self, x: Ref, keep: bool) -> Ref:
        axes = self.w.const([self.axis(1), self.axis(2)])
        return self.w.node("Mean", x, axes, attrs={"Tidx": INT32, "keep_dims": keep})


NETS: dict[str, Callable[[Net], Ref]] = {
    "conv bias relu": lambda n: n.w.node("Relu", n.bias(n.conv(n.x, (4, 4), stride=2))),
    "depthwise": lambda n: n.w.node("Relu6", n.conv(n.conv(n.x, (4, 1), depthwise=True), (4, 4))),
    "explicit pads": lambda n: n.explicit(n.x),
    "batch norm": lambda n: n.w.node("Elu", n.norm(n.conv(n.x, (4, 4)))),
    "pools": lambda n: n.pool(n.pool(n.conv(n.x, (4, 4)), "MaxPool"), "AvgPool"),
    "residual": lambda n: n.w.node("AddV2", n.conv(n.x, (4, 4)), n.x),
    "arithmetic": lambda n: n.constant("AddV2", n.constant("Mul", n.conv(n.x, (4, 4)))),
    "scalar": lambda n: n.w.node("Mul", n.w.const(2.5), n.conv(n.x, (4, 4))),
    "pad": lambda n: n.conv(n.pad(n.conv(n.x, (4, 4))), (4, 4)),
    "concat": lambda n: n.conv(n.concat(n.conv(n.x, (4, 4)), n.conv(n.x, (4, 3))), (7, 4)),
    "mean": lambda n: n.mean(n.conv(n.x, (4, 4)), False),
    "squeeze and excite": lambda n: n.w.node(
        "Mul", n.conv(n.x, (4, 4)), n.w.node("Sigmoid", n.mean(n.conv(n.x, (4, 4)), True))
    ),
}


def written(name: str, first: bool) -> Model:
    net = Net(first)
    return net.w.model(y=NETS[name](net))


def run(model: Model, x: Array) -> Array:
    (value,) = evaluate(model.graph, outputs_of(model), {Ref("x"): x})
    return value


@pytest.mark.parametrize("name", NETS)
def test_the_same_numbers_in_nhwc(name: str) -> None:
    last = written(name, first=False)
    (x,) = feeds_for(last).values()
    expected = run(last, x)
    after = share_nodes(to_nhwc(written(name, first=True), context()), context())
    actual = run(after, x.transpose(TO_FIRST))
    if actual.ndim == 4:
        actual = actual.transpose(TO_LAST)
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-5)
    assert {node.attrs.get("data_format", b"NHWC") for node in after.graph} == {b"NHWC"}
    assert ops(after)["Transpose"] <= 2  # one at the input, one at the output
    assert set(ops(after)) - set(ops(last)) <= {"Transpose"}


def test_a_flatten_sees_channels_first() -> None:
    """The order of elements is part of what a Reshape computes."""
    net = Net(first=True)
    y = net.w.node("Relu", net.conv(net.x, (4, 4)))
    model = net.w.model(y=net.w.node("Reshape", y, net.w.const([2, -1]), attrs={"Tshape": INT32}))
    last = Net(first=False)
    z = last.w.node("Relu", last.conv(last.x, (4, 4)))
    twin = last.w.model(y=last.w.node("Transpose", z, last.w.const(list(TO_FIRST)), attrs={"Tperm": INT32}))
    (x,) = feeds_for(twin).values()
    actual = run(to_nhwc(model, context()), x.transpose(TO_FIRST))
    np.testing.assert_allclose(actual, run(twin, x).reshape(2, -1), atol=1e-5)


def test_a_net_in_nhwc_is_left_alone() -> None:
    assert kept(to_nhwc, written("residual", first=False))
