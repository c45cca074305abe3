"""Float ops of the reference against TensorFlow: elementwise, reductions, products, pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, compare

from eightfold.graph.ir import Array, DType

RANDOM = np.random.default_rng(7)


def normal(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "op",
    [
        "Abs",
        "Ceil",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Neg",
        "Relu",
        "Relu6",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Square",
        "Tanh",
    ],
)
def test_unary(op: str) -> None:
    compare(op, 4 * normal(3, 50), T=FLOAT)


@pytest.mark.parametrize("op", ["Log", "Log1p", "Reciprocal", "Rsqrt", "Sqrt"])
def test_unary_of_positive_numbers(op: str) -> None:
    compare(op, np.abs(normal(3, 50)) + 0.1, T=FLOAT)


@pytest.mark.parametrize("op", ["Add", "AddV2", "Maximum", "Minimum", "Mul", "RealDiv", "SquaredDifference", "Sub"])
def test_binary_broadcasts(op: str) -> None:
    compare(op, normal(2, 3, 4), np.abs(normal(3, 1)) + 0.5, T=FLOAT)


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"])
def test_comparison(op: str) -> None:
    compare(op, np.round(normal(40)), np.round(normal(40)), T=FLOAT)


def test_leaky_relu_multiplies_what_is_negative() -> None:
    compare("LeakyRelu", normal(100), T=FLOAT, alpha=0.3)


def test_add_n() -> None:
    compare("AddN", normal(4), normal(4), normal(4), N=3, T=FLOAT)


def test_clip_and_select() -> None:
    compare("ClipByValue", normal(50), parameters=(-0.5, 0.7), T=FLOAT)
    compare("SelectV2", normal(50) > 0, normal(50), normal(50), T=FLOAT)


@pytest.mark.parametrize("op", ["Max", "Mean", "Min", "Prod", "Sum"])
@pytest.mark.parametrize("keep_dims", [False, True])
@pytest.mark.parametrize("axes", [(1, 2), (-1,), ()])
def test_reduction(op: str, keep_dims: bool, axes: tuple[int, ...]) -> None:
    axis = np.array(axes, np.int32)
    compare(op, normal(2, 5, 6, 3), parameters=[axis], T=FLOAT, Tidx=DType("int32"), keep_dims=keep_dims)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_large_numbers_stays_finite(op: str) -> None:
    compare(op, 50 * normal(4, 9), T=FLOAT)


def test_arg_max() -> None:
    types = {"T": FLOAT, "Tidx": DType("int32"), "output_type": DType("int64")}
    compare("ArgMax", normal(5, 6), parameters=[np.array(1, np.int32)], **types)


@given(transpose_a=st.booleans(), transpose_b=st.booleans(), m=st.integers(1, 9), k=st.integers(1, 9))
def test_matmul(transpose_a: bool, transpose_b: bool, m: int, k: int) -> None:
    a = normal(k, m) if transpose_a else normal(m, k)
    b = normal(5, k) if transpose_b else normal(k, 5)
    compare("MatMul", a, b, T=FLOAT, transpose_a=transpose_a, transpose_b=transpose_b)


@pytest.mark.parametrize(("adj_x", "adj_y"), [(False, False), (True, False), (False, True)])
def test_batch_matmul_broadcasts(adj_x: bool, adj_y: bool) -> None:
    x = normal(2, 3, 6, 4) if adj_x else normal(2, 3, 4, 6)
    y = normal(3, 5, 6) if adj_y else normal(3, 6, 5)
    compare("BatchMatMulV2", x, y, T=FLOAT, adj_x=adj_x, adj_y=adj_y)


def test_einsum_of_attention() -> None:
    compare("Einsum", normal(2, 5, 3, 4), normal(2, 6, 3, 4), T=FLOAT, N=2, equation=b"aecd,abcd->acbe")


@given(
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]),
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    op=st.sampled_from(["MaxPool", "AvgPool"]),
)
def test_pooling(size: int, stride: int, padding: str, height: int, width: int, op: str) -> None:
    geometry = {"ksize": (1, size, size, 1), "strides": (1, stride, stride, 1), "padding": padding.encode()}
    compare(op, normal(2, height, width, 3), T=FLOAT, data_format=b"NHWC", **geometry)


def test_batch_norm_in_inference() -> None:
    vectors = [normal(5), normal(5), normal(5), np.abs(normal(5)) + 0.1]
    attrs = {"T": FLOAT, "U": FLOAT, "epsilon": 1e-3, "is_training": False, "data_format": b"NHWC"}
    compare("FusedBatchNormV3", normal(2, 4, 4, 5), parameters=vectors, **attrs)


def test_bias_add() -> None:
    compare("BiasAdd", normal(2, 4, 4, 5), parameters=[normal(5)], T=FLOAT, data_format=b"NHWC")
