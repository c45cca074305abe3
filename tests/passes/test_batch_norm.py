"""Batch norm in every form that exports have, with what it folds into."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unchanged import applied, context, kept, ops

from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.batch_norm import split_batch_norm
from eightfold.passes.context import Context
from eightfold.passes.fold_affine import fold_affine
from lowering import outputs_of

FUSED = ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]
FORMS = [*FUSED, "decomposed", "factors", "subtract and divide"]


def positive(w: Writer, channels: int) -> Array:
    return np.abs(w.normal(channels)) + np.float32(0.5)


def batch_norm(w: Writer, x: Ref, channels: int, form: str) -> Ref:
    """One of the forms, with constants of its own."""
    gamma, beta, mean, variance = positive(w, channels), w.normal(channels), w.normal(channels), positive(w, channels)
    if form in FUSED:
        operands = [w.const(value) for value in (gamma, beta, mean, variance)]
        attrs = {"epsilon": 1e-3, "is_training": False, "data_format": b"NHWC", "U": DType("float32")}
        return w.node(form, x, *operands, attrs=attrs if form != "FusedBatchNorm" else {**attrs, "U": None})
    scale = gamma / np.sqrt(variance + 1e-3)
    if form == "decomposed":
        return w.node("AddV2", w.node("Mul", x, w.const(scale)), w.const(beta - mean * scale))
    if form == "factors":  # swapped, in four steps, in the rank of the tensor
        y = w.node("Sub", x, w.const(mean.reshape(1, 1, 1, -1)))
        y = w.node("Mul", w.const(1 / np.sqrt(variance + 1e-3)), y)
        return w.node("Add", w.const(beta), w.node("Mul", y, w.const(gamma)))
    y = w.node("RealDiv", w.node("Sub", x, w.const(mean)), w.const(np.sqrt(variance + 1e-3)))
    return w.node("AddV2", w.node("Mul", y, w.const(gamma)), w.const(beta))


def folded(model: Model, context: Context) -> Model:
    return fold_affine(split_batch_norm(model, context), context)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depthwise", [True, False])
def test_after_a_convolution(form: str, bias: bool, depthwise: bool) -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    shape = (3, 3, 4, 2) if depthwise else (3, 3, 4, 8)
    y = w.conv(x, w.normal(*shape), depthwise=depthwise)
    y = w.bias(y, w.normal(8)) if bias else y
    model = w.model(y=w.node("Relu", batch_norm(w, y, 8, form)))
    after = applied(folded, model)
    conv = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    assert ops(after) == {conv: 1, "BiasAdd": 1, "Relu": 1}


@pytest.mark.parametrize("form", ["decomposed", "subtract and divide"])
@pytest.mark.parametrize("transposed", [True, False])
def test_after_a_dense_layer(form: str, transposed: bool) -> None:
    w = Writer()
    x = w.input("x", (3, 5))
    weight = w.normal(5, 8)
    y = w.matmul(x, weight.T.copy() if transposed else weight, transpose_b=transposed)
    assert ops(applied(folded, w.model(y=batch_norm(w, y, 8, form)))) == {"MatMul": 1, "BiasAdd": 1}


def test_constants_of_more_axes_than_the_tensor_are_left_alone() -> None:
    w = Writer()
    x = w.input("x", (3, 5))
    y = w.node("Mul", w.matmul(x, w.normal(5, 8)), w.const(w.normal(1, 1, 8)))
    after = applied(fold_affine, w.model(y=y))
    assert ops(after) == {"MatMul": 1, "Mul": 1}


@pytest.mark.parametrize("scaled", [True, False])
def test_the_op_of_the_first_tensorflow(scaled: bool) -> None:
    """No TensorFlow of today runs it: the numbers are those of its definition."""
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    mean, variance, beta, gamma = w.normal(4), positive(w, 4), w.normal(4), positive(w, 4)
    operands = [w.const(value) for value in (mean, variance, beta, gamma)]
    attrs = {"variance_epsilon": 1e-3, "scale_after_normalization": scaled}
    model = w.model(y=w.node("BatchNormWithGlobalNormalization", x, *operands, attrs=attrs))
    after, value = split_batch_norm(model, context()), w.normal(2, 5, 5, 4)
    expected = (value - mean) / np.sqrt(variance + 1e-3) * (gamma if scaled else 1) + beta
    (actual,) = evaluate(after.graph, outputs_of(after), {x: value})
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_after_a_transposed_convolution() -> None:
    w = Writer()
    x = w.input("x", (2, 4, 4, 3))
    attrs = {"strides": (1, 2, 2, 1), "padding": b"SAME", "data_format": b"NHWC", "dilations": (1, 1, 1, 1)}
    sizes, weight = w.const([2, 8, 8, 5]), w.const(w.normal(3, 3, 5, 3))
    y = w.node("Conv2DBackpropInput", sizes, weight, x, attrs=attrs)
    after = applied(folded, w.model(y=batch_norm(w, y, 5, "FusedBatchNormV3")), on_tensorflow=True)
    assert ops(after) == {"Conv2DBackpropInput": 1, "BiasAdd": 1}


def test_after_a_3d_convolution() -> None:
    w = Writer()
    x = w.input("x", (1, 4, 4, 4, 2))
    attrs = {"strides": (1,) * 5, "padding": b"SAME", "data_format": b"NDHWC", "dilations": (1,) * 5}
    y = w.node("Conv3D", x, w.const(w.normal(2, 2, 2, 2, 3)), attrs=attrs)
    after = applied(folded, w.model(y=batch_norm(w, y, 3, "decomposed")), on_tensorflow=True)
    assert ops(after) == {"Conv3D": 1, "BiasAdd": 1}


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "decomposed"])
def test_weights_that_two_convolutions_share(form: str) -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    weight = w.const(w.normal(3, 3, 4, 8))
    attrs = {"strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC", "dilations": (1, 1, 1, 1)}
    first, second = (w.node("Conv2D", x, weight, attrs=attrs) for _ in range(2))
    model = w.model(a=batch_norm(w, first, 8, form), b=w.node("Relu", second))
    assert ops(applied(folded, model)) == {"Conv2D": 2, "BiasAdd": 1, "Relu": 1}


def test_a_convolution_that_somebody_else_reads_keeps_its_weights() -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    y = w.conv(x, w.normal(3, 3, 4, 8))
    model = w.model(a=batch_norm(w, y, 8, "decomposed"), b=w.node("Relu", y))
    assert ops(applied(folded, model)) == {"Conv2D": 1, "Mul": 1, "AddV2": 1, "Relu": 1}


@pytest.mark.parametrize(
    ("size", "padding", "left"),
    [
        ((1, 1), "SAME", {}),
        ((3, 3), "VALID", {}),
        ((3, 3), "SAME", {"AddV2": 1}),  # a shift would be added to the zeros beyond the edge as well
        ((3, 3), "EXPLICIT", {"AddV2": 1}),
    ],
)
@pytest.mark.parametrize("depthwise", [True, False])
def test_before_a_convolution(size: tuple[int, int], padding: str, left: dict[str, int], depthwise: bool) -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    if padding == "EXPLICIT" and depthwise:
        return  # TensorFlow's float kernel has no such form
    attrs = {"explicit_paddings": (0, 0, 1, 1, 0, 1, 0, 0)} if padding == "EXPLICIT" else {}
    weight = w.normal(*size, 4, 2 if depthwise else 5)
    y = w.conv(batch_norm(w, x, 4, "FusedBatchNormV3"), weight, padding=padding, depthwise=depthwise, **attrs)
    after = applied(folded, w.model(y=y))
    conv = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    expected = {conv: 1, "Mul": 1, "AddV2": 1} if left else {conv: 1, "BiasAdd": 1}
    assert ops(after) == expected


def test_before_a_convolution_with_a_bias_the_two_biases_become_one() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.bias(w.conv(batch_norm(w, x, 4, "FusedBatchNormV3"), w.normal(1, 1, 4, 5)), w.normal(5))
    assert ops(applied(folded, w.model(y=y))) == {"Conv2D": 1, "BiasAdd": 1}


@pytest.mark.parametrize("transposed", [True, False])
def test_before_a_dense_layer(transposed: bool) -> None:
    w = Writer()
    x = w.input("x", (3, 4))
    weight = w.normal(4, 5)
    y = batch_norm(w, x, 4, "decomposed")
    y = w.matmul(y, weight.T.copy() if transposed else weight, transpose_b=transposed)
    assert ops(applied(folded, w.model(y=y))) == {"MatMul": 1, "BiasAdd": 1}


def test_a_constant_that_broadcasts_one_channel_to_many_does_not_fold_forward() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 1))
    y = w.conv(w.node("Mul", x, w.const(w.normal(3))), w.normal(1, 1, 3, 5))
    assert ops(applied(folded, w.model(y=y))) == {"Conv2D": 1, "Mul": 1}


def test_between_two_convolutions_it_folds_back() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = batch_norm(w, w.conv(x, w.normal(3, 3, 4, 4)), 4, "FusedBatchNormV3")
    after = applied(folded, w.model(y=w.conv(y, w.normal(3, 3, 4, 4))))
    assert ops(after) == {"Conv2D": 2, "BiasAdd": 1}


def trained(w: Writer) -> Model:
    x = w.input("x", (2, 5, 5, 4))
    operands = [w.const(value) for value in (positive(w, 4), w.normal(4), w.normal(0), w.normal(0))]
    attrs = {"epsilon": 1e-3, "is_training": True, "data_format": b"NHWC", "U": DType("float32")}
    return w.model(y=w.node("FusedBatchNormV3", x, *operands, attrs=attrs))


def test_training_mode_is_left_alone() -> None:
    assert kept(split_batch_norm, trained(Writer()))


def test_statistics_that_are_read_or_computed_leave_it_alone() -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    y = batch_norm(w, x, 4, "FusedBatchNormV3")
    assert kept(split_batch_norm, w.model(y=y, mean=Ref(y.node, 1)))
    w = Writer()
    x, gamma = w.input("x", (2, 5, 5, 4)), w.input("gamma", (4,))
    operands = [w.const(value) for value in (w.normal(4), w.normal(4), positive(w, 4))]
    attrs = {"epsilon": 1e-3, "is_training": False, "data_format": b"NHWC", "U": DType("float32")}
    assert kept(split_batch_norm, w.model(y=w.node("FusedBatchNormV3", x, gamma, *operands, attrs=attrs)))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Mul", "AddV2", "Sub", "RealDiv", "BiasAdd"]), st.sampled_from([(), (1,), (4,), (1, 4)])
    ),
    max_size=6,
)


@given(STEPS, STEPS, st.booleans(), st.booleans(), st.sampled_from(["SAME", "VALID"]), st.integers(0, 99))
@settings(max_examples=40)
def test_any_chain_around_a_convolution(
    before: list[tuple[str, tuple[int, ...]]],
    after: list[tuple[str, tuple[int, ...]]],
    depthwise: bool,
    read_twice: bool,
    padding: str,
    seed: int,
) -> None:
    w = Writer(seed)
    x = w.input("x", (1, 5, 5, 4))

    def chain(y: Ref, steps: list[tuple[str, tuple[int, ...]]]) -> Ref:
        for op, dims in steps:
            shape = (4,) if op == "BiasAdd" else dims
            value = np.sign(w.normal(*shape)) * (np.abs(w.normal(*shape)) + np.float32(0.5))
            y = w.bias(y, value) if op == "BiasAdd" else w.node(op, y, w.const(value))
        return y

    y = chain(x, before)
    z = chain(w.conv(y, w.normal(3, 3, 4, 1 if depthwise else 4), depthwise=depthwise, padding=padding), after)
    outputs = {"y": w.node("Relu", z), **({"other": w.node("Neg", y)} if read_twice else {})}
    result = applied(fold_affine, w.model(**outputs))
    left = ops(result)
    assert left["RealDiv"] + left["Sub"] == 0
    assert not left["Mul"] or before


def test_folding_settles() -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 4))
    once = folded(w.model(y=batch_norm(w, w.conv(x, w.normal(3, 3, 4, 4)), 4, "factors")), context())
    assert fold_affine(once, context()) is once
