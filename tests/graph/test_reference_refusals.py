"""8-bit forms that TensorFlow lacks, or computes wrongly, have no reference."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.errors import ModelError
from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref
from eightfold.graph.reference import evaluate

ONE = np.float32(1)
IMAGE = np.ones((1, 4, 4, 2), np.uint8)
FILTER = np.ones((1, 1, 2, 2), np.int8)
ROWS = np.ones((3, 2), np.uint8)
WEIGHT = np.ones((2, 2), np.int8)
BIAS = np.zeros(2, np.float32)


def run(op: str, inputs: list[Array], **attrs: Attr) -> None:
    consts = [const_node(f"c{place}", value) for place, value in enumerate(inputs)]
    node = Node("it", op, tuple(const.ref for const in consts), attrs)
    evaluate(Graph([*consts, node]), [Ref("it")])


def convolve(
    fused: str, inputs: list[Array], out: str = "quint8", weight: Array = FILTER, image: Array = IMAGE
) -> None:
    attrs = {"fused_ops": tuple(name.encode() for name in fused.split()), "out_type": DType(out)}
    geometry = {"strides": (1, 1, 1, 1), "padding": b"VALID", "data_format": b"NHWC"}
    run("_FusedQuantizedConv2D", [image, weight, *inputs, *[ONE] * 8], **attrs, **geometry)


@pytest.mark.parametrize("fused", ["BiasAdd Relu6 Requantize", "BiasAdd Sum Requantize", "BiasAdd Dequantize"])
def test_a_fusion_without_a_kernel(fused: str) -> None:
    with pytest.raises(ModelError, match="TensorFlow has no such kernel with a quint8 result"):
        convolve(fused, [BIAS])


def test_a_requantized_int32_result() -> None:
    with pytest.raises(ModelError, match="no such kernel with a qint32 result"):
        convolve("BiasAdd Requantize", [BIAS], out="qint32")


def test_a_signed_summand() -> None:
    with pytest.raises(ModelError, match="adds a int8 summand"):
        convolve("BiasAdd Sum Relu Requantize", [BIAS, IMAGE.astype(np.int8)])


def test_a_sum_with_a_signed_result() -> None:
    with pytest.raises(ModelError, match="adds into quint8 only, received out_type qint8"):
        convolve("BiasAdd Sum Relu Requantize", [BIAS, IMAGE], out="qint8")


def test_a_grouped_convolution() -> None:
    with pytest.raises(ModelError, match="no grouped convolution"):
        convolve("Requantize", [], weight=FILTER[:, :, :1])


def multiply(fused: str, bias: Array = BIAS, extra: tuple[Array, ...] = (), **attrs: Attr) -> None:
    options = {"Tout": DType("quint8"), "input_quant_mode": b"SCALED", **attrs}
    ops = tuple(name.encode() for name in fused.split())
    x = ROWS.astype(np.int8) if attrs.get("T1") == "qint8" else ROWS
    run("_QuantizedMatMul", [x, WEIGHT, bias, *extra, *[ONE] * 6], fused_ops=ops, **options)


@pytest.mark.parametrize("fused", ["", "Dequantize", "BiasAdd", "BiasAdd Relu Tanh Dequantize"])
def test_a_product_without_a_kernel(fused: str) -> None:
    with pytest.raises(ModelError, match="TensorFlow has no such kernel"):
        multiply(fused)


def test_an_unknown_activation() -> None:
    with pytest.raises(ModelError, match="there is no fused Swish"):
        multiply("BiasAdd Swish Requantize")


def test_an_integer_bias() -> None:
    with pytest.raises(ModelError, match="takes a float32 bias, received int32"):
        multiply("BiasAdd Requantize", bias=BIAS.astype(np.int32))


def test_a_sum_to_codes() -> None:
    with pytest.raises(ModelError, match="a sum can be had in float only"):
        multiply("BiasAdd Add Requantize", extra=(np.zeros((3, 2), np.float32),))


def test_signed_input_codes_with_an_offset() -> None:
    with pytest.raises(ModelError, match="right for a quint8 input only"):
        multiply("BiasAdd Requantize", input_quant_mode=b"MIN_FIRST", T1="qint8")


def test_legacy_product_of_codes_with_an_offset() -> None:
    with pytest.raises(ModelError, match="in mode SCALED only"):
        run("QuantizedMatMulWithBiasAndDequantize", [ROWS, WEIGHT, BIAS, *[ONE] * 6])


def test_legacy_product_with_a_range_for_each_channel() -> None:
    ranges = [ONE, ONE, np.ones(2, np.float32), np.ones(2, np.float32), ONE, ONE]
    with pytest.raises(ModelError, match="one range for the whole weight"):
        run("QuantizedMatMulWithBiasAndDequantize", [ROWS, WEIGHT, BIAS, *ranges], input_quant_mode=b"SCALED")
