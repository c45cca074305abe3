"""Any geometry, any range: the 8-bit result is as close as the rounding of its operands allows, and TensorFlow agrees.

Let x, w, s and y be rounded to steps of h. Then each output is off by at most

    h_y / 2  +  sum |x| h_w / 2  +  sum |w'| h_x / 2  +  h_s / 2

where w' is the rounded weight, for activations that do not stretch. Nothing saturates: ranges come from the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.graph.ir import Array, Ref
from eightfold.graph.reference import evaluate
from eightfold.graph.reference.convolution import convolve, convolve_depthwise
from eightfold.graph.writer import Writer
from eightfold.rewrites.weights import quantize_weight
from lowering import NEW, Lowered, assert_tensorflow_agrees, lowered

SPANS = [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0), (0.2, 0.9), (-2e-5, 1e-5), (0.0, 3e-6), (-500.0, 40.0), (-0.01, 7.0)]
ACTIVATIONS = ["", "Relu", "Relu6"]


@dataclass(frozen=True)
class Convolution:
    """A convolution, what it is applied to, and what follows it."""

    depthwise: bool
    image: tuple[int, int]
    window: tuple[int, int]
    channels: tuple[int, int]
    stride: int
    dilation: int
    padding: str
    explicit: tuple[int, int, int, int]
    span: tuple[float, float]
    summand: tuple[float, float] | None
    bias: bool
    activation: str
    seed: int

    def lowered(self) -> Lowered:
        w, random = Writer(self.seed), np.random.default_rng(self.seed)
        inputs, outputs = self.channels
        x = w.input("x", (2, *self.image, inputs))
        filters = outputs if not self.depthwise else 1 + outputs % 2
        weight = w.normal(*self.window, inputs, filters, scale=float(random.choice([1e-3, 0.3, 5])))
        weight[..., 0] *= random.choice([0, 1, 100])
        attrs = {"explicit_paddings": (0, 0, *self.explicit, 0, 0)} if self.padding == "EXPLICIT" else {}
        y = w.conv(
            x,
            weight,
            strides=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            depthwise=self.depthwise,
            **attrs,
        )
        feeds = {x: random.uniform(*self.span, (2, *self.image, inputs)).astype(np.float32)}
        (plain,) = evaluate(w.model(y=y).graph, [y], feeds)
        if self.bias:
            y = w.bias(y, w.normal(plain.shape[3]) * np.abs(plain).max())
        if self.summand is not None:
            s = w.input("s", plain.shape)
            feeds[s] = (random.uniform(*self.summand, plain.shape) * np.abs(plain).max()).astype(np.float32)
            y = w.node("AddV2", y, s)
        y = w.node(self.activation, y) if self.activation else y
        return lowered(w.model(y=y), NEW, feeds)


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    window = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2))
    pads = st.integers(0, 2)
    return Convolution(
        depthwise=draw(st.booleans()),
        image=(draw(st.integers(5, 9)), draw(st.integers(5, 9))),
        window=window,
        channels=(draw(st.integers(1, 9)), draw(st.integers(1, 9))),
        stride=1 if dilation > 1 else draw(st.integers(1, 2)),
        dilation=dilation,
        padding=draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"])),
        explicit=(draw(pads), draw(pads), draw(pads), draw(pads)),
        span=draw(st.sampled_from(SPANS)),
        summand=draw(st.sampled_from([None, None, (0.0, 1.0), (-1.0, 1.0), (-1.0, -0.1), (0.0, 1e-4)])),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        seed=draw(st.integers(0, 999)),
    )


def conv_bound(case: Lowered) -> Array:
    """The largest difference that rounding can make to each output, before it is rounded itself."""
    (step,) = case.plan.steps
    node, weight = step.match.named["conv"], step.match.value("filter")
    depthwise = node.op == "DepthwiseConv2dNative"
    apply = convolve_depthwise if depthwise else convolve
    x = case.feeds[Ref("x")]
    rounded = quantize_weight(weight, (2, 3) if depthwise else (3,))
    shape = [size if axis in rounded.axes else 1 for axis, size in enumerate(weight.shape)]
    half_weight = np.broadcast_to(rounded.scale.reshape(shape) / 2, weight.shape)
    half_x = case.encodings[Ref("x")].step / 2
    total = apply(node, np.abs(x), half_weight) + apply(node, np.full_like(x, half_x), np.abs(rounded.real))
    if Ref("s") in case.encodings:
        total = total + case.encodings[Ref("s")].step / 2
    return np.asarray(total)


@given(convolutions())
@settings(max_examples=200)
def test_a_convolution_is_as_close_as_rounding_allows(convolution: Convolution) -> None:
    case = convolution.lowered()
    (step,) = case.plan.steps
    assert step.rewrite.name.startswith("depthwise" if convolution.depthwise else "conv")
    bound = conv_bound(case) + case.encodings[step.match.root].step * 0.5
    apart = np.abs(case.expected[0].astype(np.float64) - case.actual[0])
    scale = np.abs(case.expected[0]).max()
    assert (apart <= bound * (1 + 1e-3) + 1e-5 * scale + 1e-30).all()


@pytest.mark.int8
@given(convolutions())
@settings(max_examples=25)
def test_a_convolution_on_tensorflow(convolution: Convolution) -> None:
    assert_tensorflow_agrees(convolution.lowered())


@dataclass(frozen=True)
class Product:
    """A dense layer."""

    rows: int
    inner: int
    units: int
    transposed: bool
    span: tuple[float, float]
    bias: bool
    activation: str
    seed: int

    def lowered(self) -> Lowered:
        w, random = Writer(self.seed), np.random.default_rng(self.seed)
        x = w.input("x", (self.rows, self.inner))
        weight = w.normal(self.inner, self.units, scale=float(random.choice([1e-3, 0.3, 5])))
        weight[:, 0] *= random.choice([0, 1, 100])
        y = w.matmul(x, weight.T.copy() if self.transposed else weight, transpose_b=self.transposed)
        feeds = {x: random.uniform(*self.span, (self.rows, self.inner)).astype(np.float32)}
        (plain,) = evaluate(w.model(y=y).graph, [y], feeds)
        if self.bias:
            y = w.bias(y, w.normal(self.units) * np.abs(plain).max())
        if self.activation:
            y = w.node(self.activation, y, attrs={"alpha": 0.1} if self.activation == "LeakyRelu" else {})
        return lowered(w.model(y=y), NEW, feeds)


products = st.builds(
    Product,
    rows=st.integers(1, 6),
    inner=st.integers(1, 40),
    units=st.integers(1, 12),
    transposed=st.booleans(),
    span=st.sampled_from(SPANS),
    bias=st.booleans(),
    activation=st.sampled_from(["", "", "Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh"]),
    seed=st.integers(0, 999),
)


@given(products)
@settings(max_examples=150)
def test_a_dense_layer_is_as_close_as_rounding_allows(product: Product) -> None:
    case = product.lowered()
    (step,) = case.plan.steps
    weight, x = step.match.value("filter"), case.feeds[Ref("x")].astype(np.float64)
    rounded = quantize_weight(weight.T if product.transposed else weight, (1,))
    half_x = case.encodings[Ref("x")].step / 2
    bound = np.abs(x).sum(1, keepdims=True) * rounded.scale / 2 + half_x * np.abs(rounded.real).sum(0)
    if step.gives:
        bound = bound + case.encodings[step.match.root].step / 2
    apart = np.abs(case.expected[0].astype(np.float64) - case.actual[0])
    scale = max(np.abs(case.expected[0]).max(), np.abs(x @ rounded.real).max())
    assert (apart <= bound * (1 + 1e-3) + 1e-5 * scale + 1e-30).all()


@pytest.mark.int8
@given(products)
@settings(max_examples=25)
def test_a_dense_layer_on_tensorflow(product: Product) -> None:
    case = product.lowered()
    assert_tensorflow_agrees(case)


POOLS = st.tuples(
    st.sampled_from(["MaxPool", "AvgPool", "Mean"]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 2),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from([(-2.0, 1.0), (0.0, 1.0), (-2.0, -0.5)]),
    st.integers(0, 999),
)


def pooled(
    kind: str, size: tuple[int, int], stride: int, padding: str, span: tuple[float, float], seed: int
) -> Lowered:
    """conv, pool, conv; the bias of the first moves what is pooled into a span."""
    w = Writer(seed)
    x = w.input("x", (2, 6, 7, 3))
    y = w.conv(x, w.normal(1, 1, 3, 4, scale=0.1 * (span[1] - span[0])))
    y = w.bias(y, np.full(4, sum(span) / 2))
    if kind == "Mean":
        y = w.node("Mean", y, w.const([1, 2]), attrs={"keep_dims": True})
    else:
        strides = {"ksize": (1, *size, 1), "strides": (1, stride, stride, 1)}
        y = w.node(kind, y, attrs={**strides, "padding": padding.encode(), "data_format": b"NHWC"})
    return lowered(w.model(y=w.conv(y, w.normal(1, 1, 4, 4, scale=0.5))), NEW)


@given(POOLS)
def test_pools_are_as_close_as_rounding_allows(pool: tuple) -> None:  # type: ignore[type-arg]
    case = pooled(*pool)
    step = next(s for s in case.plan.steps if s.rewrite.role != "compute")
    (expected,) = evaluate(case.model.graph, [step.match.root], case.feeds)
    source = case.encodings[step.reads[0][0]]
    own = case.encodings[step.match.root].step
    rounding = 0.0 if pool[0] == "MaxPool" else own / 2
    before = 0.1 * np.ptp(expected)  # the operands of the convolution before: small against its result
    assert np.abs(case.real(step.match.root) - expected).max() <= source.step / 2 + rounding + before
    assert case.sqnr_db > 25


@pytest.mark.int8
@given(POOLS)
@settings(max_examples=15)
def test_pools_on_tensorflow(pool: tuple) -> None:  # type: ignore[type-arg]
    assert_tensorflow_agrees(pooled(*pool))
