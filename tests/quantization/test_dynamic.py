"""The 8-bit graph whose ranges are computed while it runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.quantization.dynamic import dynamic_plan, lower_dynamic
from eightfold.quantization.recipe import Recipe
from lowering import OF_THIS_CPU, Lowered, feeds_for, lowered, outputs_of

SPANS = [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0), (2.0, 5.0), (-1e-6, 2e-6), (-500.0, 40.0)]


def dynamic(model: Model, feeds: dict[Ref, Array], recipe: Recipe | None = None) -> tuple[Lowered, Model]:
    case = lowered(model, recipe or Recipe(), feeds)
    return case, lower_dynamic(model, case.plan)


def sqnr(model: Model, written: Model, feeds: dict[Ref, Array]) -> float:
    pairs = zip(
        evaluate(model.graph, outputs_of(model), feeds),
        evaluate(written.graph, outputs_of(written), feeds),
        strict=True,
    )
    return min(sqnr_db(expected, actual) for expected, actual in pairs)


def conv_net(padding: str = "SAME", strides: int = 1) -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.bias(w.conv(x, w.normal(3, 3, 4, 8, scale=0.3), padding=padding), w.normal(8)))
    return w.model(y=w.node("Elu", w.conv(y, w.normal(3, 3, 8, 4, scale=0.2), strides=strides)))


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_convolutions_of_any_range(span: tuple[float, float], padding: str) -> None:
    model = conv_net(padding)
    feeds = feeds_for(model, lo=span[0], hi=span[1])
    case, written = dynamic(model, feeds)
    assert [step.rewrite.name for step in dynamic_plan(case.plan).steps] == ["conv_relu", "conv"]
    ops = [node.op for node in written.graph]
    assert ops.count("_FusedQuantizedConv2D") == ops.count("QuantizeV2") == 2
    assert "Conv2D" not in ops
    assert {"Relu", "BiasAdd", "Elu"} <= set(ops)  # what follows the products stays float
    assert sqnr(model, written, feeds) > 33


def test_what_follows_a_relu_is_unsigned() -> None:
    model = conv_net()
    _, written = dynamic(model, feeds_for(model))
    kinds = [str(node.attrs["T"]) for node in written.graph if node.op == "QuantizeV2"]
    assert kinds == ["qint8", "quint8"]


@given(
    st.sampled_from(SPANS),
    st.integers(1, 30),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.integers(0, 999),
)
@settings(max_examples=60)
def test_dense_layers_of_any_range(
    span: tuple[float, float], inner: int, units: int, transposed: bool, per_channel: bool, seed: int
) -> None:
    """x is off by half a step of (hi - lo) / 255, each weight by half of its own."""
    w = Writer(seed)
    x = w.input("x", (3, inner))
    weight = w.normal(inner, units)
    weight[:, 0] *= 50
    y = w.matmul(x, weight.T.copy() if transposed else weight, transpose_b=transposed)
    model = w.model(y=y)
    feeds = feeds_for(model, seed, *span)
    _, written = dynamic(model, feeds, Recipe(per_channel=per_channel))
    (expected,), (actual,) = (evaluate(m.graph, outputs_of(m), feeds) for m in (model, written))
    value = feeds[Ref("x")].astype(np.float64)
    half_x = (max(value.max(), 0) - min(value.min(), 0)) / 255 / 2
    largest = np.abs(weight).max(0 if per_channel else None)
    bound = half_x * (np.abs(weight) + largest / 254).sum(0) + np.abs(value).sum(1, keepdims=True) * largest / 254
    slack = 1e-5 * (np.abs(value) @ np.abs(weight)).max()
    assert (np.abs(expected - actual) <= bound * 1.01 + slack).all()


def test_depthwise_and_carriers_stay_float_and_say_so() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 4, 4)))
    pool = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}
    y = w.conv(w.node("MaxPool", y, attrs=pool), w.normal(3, 3, 4, 1), depthwise=True)
    model = w.model(y=w.conv(y, w.normal(1, 1, 4, 4)))
    feeds = feeds_for(model)
    case, written = dynamic(model, feeds)
    ops = [node.op for node in written.graph]
    assert ops.count("DepthwiseConv2dNative") == ops.count("MaxPool") == 1
    plan = dynamic_plan(case.plan)
    reason = "without calibration only products of convolutions and matrices are in 8 bits"
    assert {(refusal.op, refusal.reason) for refusal in plan.refusals} == {
        ("DepthwiseConv2dNative", reason),
        ("MaxPool", reason),
    }
    assert sqnr(model, written, feeds) > 33


def test_nothing_but_zeros() -> None:
    model = conv_net()
    feeds = {Ref("x"): np.zeros((2, 6, 6, 4), np.float32)}
    case = lowered(model, Recipe())
    written = lower_dynamic(model, case.plan)
    (value,) = evaluate(written.graph, outputs_of(written), feeds)
    (expected,) = evaluate(model.graph, outputs_of(model), feeds)
    np.testing.assert_allclose(value, expected, atol=0.02 * np.abs(expected).max())


def test_data_far_beyond_any_calibration() -> None:
    """Ranges follow the data: nothing can saturate."""
    model = conv_net()
    case = lowered(model, Recipe())
    written = lower_dynamic(model, case.plan)
    for scale in (1e-4, 1.0, 1e4):
        feeds = {ref: value * np.float32(scale) for ref, value in case.feeds.items()}
        assert sqnr(model, written, feeds) > 30


def test_a_tensor_is_quantized_once_for_its_readers() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    model = w.model(a=w.conv(x, w.normal(3, 3, 4, 4)), b=w.conv(x, w.normal(1, 1, 4, 4)))
    _, written = dynamic(model, feeds_for(model))
    assert [node.op for node in written.graph].count("QuantizeV2") == 1


@pytest.mark.int8
@pytest.mark.parametrize("kind", ["conv", "conv VALID", "dense"])
@pytest.mark.parametrize("span", SPANS)
def test_tensorflow_computes_the_same(kind: str, span: tuple[float, float]) -> None:
    from eightfold.tf.session import Runner

    if kind == "dense":
        w = Writer()
        x = w.input("x", (4, 16))
        model = w.model(y=w.matmul(w.node("Relu", w.bias(w.matmul(x, w.normal(16, 8)), w.normal(8))), w.normal(8, 3)))
    else:
        model = conv_net("VALID" if "VALID" in kind else "SAME", strides=2)
    feeds = feeds_for(model, lo=span[0], hi=span[1])
    _, written = dynamic(model, feeds)
    (expected,) = evaluate(written.graph, outputs_of(written), feeds, kernels=OF_THIS_CPU[0])
    with Runner.of(written) as run:
        (actual,) = run(outputs_of(written), feeds)
    np.testing.assert_allclose(actual, expected, atol=0.01 * np.abs(expected).max())
    assert sqnr_db(expected, actual) > 45
