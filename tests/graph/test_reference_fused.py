"""The fused 8-bit kernels against TensorFlow on the same codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from geometry import Geometry, geometries
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, OneOp, assert_same_codes

from eightfold.graph.ir import Array, DType, Ref

pytestmark = pytest.mark.int8

FUSIONS = ["Requantize", "BiasAdd Requantize", "Relu Requantize", "BiasAdd Relu Requantize"]
SUM = "BiasAdd Sum Relu Requantize"
TO_INT32 = ["", "BiasAdd", "Relu", "BiasAdd Relu"]
SEEDS = st.integers(0, 9999)
CHANNELS = st.integers(1, 20)


def codes_of(random: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "quint8":
        return random.integers(0, 256, shape).astype(np.uint8)
    return random.integers(-128, 128, shape).astype(np.int8)


def bounds(dtype: str, limit: float) -> tuple[float, float]:
    return (0.0 if dtype == "quint8" else -limit, limit)


@dataclass(frozen=True)
class Convolution:
    """One fused convolution with codes, weights and ranges drawn from a seed."""

    geometry: Geometry
    channels: int
    filters: int
    fusion: str
    depthwise: bool = False
    dtype: str = "quint8"
    out: str = "quint8"
    per_channel: bool = True
    seed: int = 0

    @property
    def op(self) -> str:
        return "_FusedQuantizedDepthwiseConv2D" if self.depthwise else "_FusedQuantizedConv2D"

    def check(self) -> None:
        graph = OneOp()
        ref = self.write(graph)
        expected, actual = graph.both(ref, Ref(ref.node, 1), Ref(ref.node, 2))
        if self.out == "qint32":
            np.testing.assert_allclose(expected[0], actual[0], rtol=2e-6, atol=2)
        else:
            assert_same_codes(expected[0], actual[0])
        np.testing.assert_allclose(expected[1:], actual[1:], rtol=1e-6)

    def write(self, graph: OneOp) -> Ref:
        random = np.random.default_rng(self.seed)
        fused = self.fusion.split()
        weight, limits, outputs = self.weight(random)
        x = codes_of(random, self.dtype, self.geometry.input_shape(self.channels))
        limit = np.float32(random.uniform(0.5, 8))
        device = [graph.fed(x, self.dtype), graph.const(weight, "qint8")]
        host = [*bounds(self.dtype, limit), -limits, limits]
        types = [self.dtype, "qint8"]
        if "BiasAdd" in fused:
            device.append(graph.const(random.normal(size=outputs).astype(np.float32)))
            types.append("float32")
        if "Sum" in fused:
            device.append(self.summand(graph, random, self.geometry.output_shape(outputs)))
            types.append("quint8")
            host += [0.0, np.float32(random.uniform(0.5, 4))]
        if "Requantize" in fused:
            host += bounds(self.out, np.float32(random.uniform(1, 3) * limit * limits.max()))
        constants = [graph.const(bound) for bound in host]
        attrs = {
            "Tinput": DType(self.dtype),
            "Tfilter": DType("qint8"),
            "Tbias": FLOAT,
            "Tsummand": DType(self.out),
            "out_type": DType(self.out),
            "Tdevice_inputs": tuple(DType(name) for name in types),
            "Thost_inputs": (FLOAT,) * len(constants),
            "Tdevice_outputs": (DType(self.out),),
            "Thost_outputs": (FLOAT, FLOAT),
            "fused_ops": tuple(name.encode() for name in fused),
            "is_filter_const": True,
            "is_bias_const": True,
            **self.geometry.attrs,
        }
        return graph.add(self.op, [*device, *constants], **attrs)

    def weight(self, random: np.random.Generator) -> tuple[Array, Array, int]:
        """Codes, limit for each channel (or one), number of output channels."""
        shape = (*self.geometry.size, self.channels, self.filters)
        outputs = self.channels * self.filters if self.depthwise else self.filters
        limits = random.uniform(0.1, 2, outputs).astype(np.float32)
        codes = random.integers(-127, 128, shape).astype(np.int8)
        return codes, limits if self.per_channel else np.asarray(limits[0]), outputs

    @staticmethod
    def summand(graph: OneOp, random: np.random.Generator, shape: tuple[int, ...]) -> Ref:
        """A copy of fed codes: the kernel adds in place, so nothing else may hold its summand."""
        codes = graph.fed(codes_of(random, "quint8", shape), "quint8")
        ones = (1, 1, 1, 1)
        attrs = {"T": DType("quint8"), "ksize": ones, "strides": ones, "padding": b"VALID"}
        return graph.add("QuantizedMaxPool", [codes, graph.const(0.0), graph.const(1.0)], **attrs)


@given(
    geometry=geometries(),
    channels=CHANNELS,
    filters=CHANNELS,
    fusion=st.sampled_from([*FUSIONS, SUM]),
    dtype=st.sampled_from(["quint8", "qint8"]),
    out=st.sampled_from(["quint8", "qint8"]),
    per_channel=st.booleans(),
    seed=SEEDS,
)
def test_convolution(
    geometry: Geometry,
    channels: int,
    filters: int,
    fusion: str,
    dtype: str,
    out: str,
    per_channel: bool,
    seed: int,
) -> None:
    out = "quint8" if fusion == SUM else out
    case = Convolution(geometry, channels, filters, fusion, False, dtype, out, per_channel, seed)
    case.check()


@given(
    geometry=geometries(square=True),
    channels=CHANNELS,
    multiplier=st.integers(1, 2),
    fusion=st.sampled_from([*FUSIONS, SUM]),
    dtype=st.sampled_from(["quint8", "qint8"]),
    out=st.sampled_from(["quint8", "qint8"]),
    seed=SEEDS,
)
def test_depthwise_convolution(
    geometry: Geometry, channels: int, multiplier: int, fusion: str, dtype: str, out: str, seed: int
) -> None:
    out = "quint8" if fusion == SUM else out
    Convolution(geometry, channels, multiplier, fusion, True, dtype, out, True, seed).check()


@given(
    geometry=geometries(square=True),
    fusion=st.sampled_from(TO_INT32),
    dtype=st.sampled_from(["quint8", "qint8"]),
    depthwise=st.booleans(),
    seed=SEEDS,
)
def test_int32_result_counts_in_one_unit(
    geometry: Geometry, fusion: str, dtype: str, depthwise: bool, seed: int
) -> None:
    filters = 1 if depthwise else 5
    Convolution(geometry, 6, filters, fusion, depthwise, dtype, "qint32", True, seed).check()


POINT = Geometry((8, 8), (1, 1), (1, 1), (1, 1), "VALID", (0, 0, 0, 0))


@pytest.mark.parametrize("fusion", [*FUSIONS, SUM])
def test_depthwise_of_size_one_scales_each_channel(fusion: str) -> None:
    Convolution(POINT, 64, 1, fusion, depthwise=True).check()


def test_many_channels_do_not_overflow() -> None:
    geometry = Geometry((5, 5), (3, 3), (1, 1), (1, 1), "SAME", (0, 0, 0, 0), batch=1)
    Convolution(geometry, 512, 8, "BiasAdd Relu Requantize").check()


@given(
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]),
    op=st.sampled_from(["QuantizedMaxPool", "QuantizedAvgPool"]),
    dtype=st.sampled_from(["quint8", "qint8"]),
    seed=SEEDS,
)
def test_pooling(size: int, stride: int, padding: str, op: str, dtype: str, seed: int) -> None:
    graph = OneOp()
    codes = codes_of(np.random.default_rng(seed), dtype, (2, 9, 7, 5))
    attrs = {"ksize": (1, size, size, 1), "strides": (1, stride, stride, 1), "padding": padding.encode()}
    inputs = [graph.fed(codes, dtype), *(graph.const(bound) for bound in bounds(dtype, 3.0))]
    ref = graph.add(op, inputs, T=DType(dtype), **attrs)
    expected, actual = graph.both(ref, Ref(ref.node, 1), Ref(ref.node, 2))
    assert_same_codes(expected[0], actual[0])
    assert expected[1:] == actual[1:]
