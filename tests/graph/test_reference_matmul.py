"""The 8-bit matrix products against TensorFlow on the same codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, OneOp, assert_same_codes

from eightfold.graph.ir import Array, Attr, DType, Ref

pytestmark = pytest.mark.int8

ACTIVATIONS = ["Relu", "Relu6", "Elu", "LeakyRelu", "Tanh", "Sigmoid", "GeluExact", "GeluApproximate"]
SEEDS = st.integers(0, 9999)
SIZES = st.integers(1, 40)
TRANSPOSED = {"transpose_a": False, "transpose_b": False}


@dataclass(frozen=True)
class Product:
    """One fused matrix product with codes, weights and ranges drawn from a seed."""

    fusion: str
    rows: int = 7
    depth: int = 33
    columns: int = 19
    dtype: str = "quint8"
    out: str = "float32"
    per_channel: bool = True
    transpose_b: bool = False
    input_mode: str = "SCALED"
    output_mode: str = "SCALED"
    seed: int = 0

    def check(self) -> None:
        graph = OneOp()
        (expected,), (actual,) = graph.both(self.write(graph))
        if self.out == "float32":
            np.testing.assert_allclose(expected, actual, rtol=1e-5, atol=2e-5)
        else:
            assert_same_codes(expected, actual)

    def write(self, graph: OneOp) -> Ref:
        random = np.random.default_rng(self.seed)
        fused = self.fusion.split()
        host = [*self.input_range(random), *self.weight_range(random)]
        if "Requantize" in fused:
            host += (0.0 if self.output_mode == "SCALED" and self.out == "quint8" else -1.0, 3.0)
        bias = random.normal(size=self.columns).astype(np.float32)
        inputs = [graph.fed(self.codes(random), self.dtype), graph.const(self.weight(random), "qint8")]
        inputs.append(graph.const(bias))
        if "Add" in fused:
            inputs.append(graph.fed(random.normal(size=(self.rows, self.columns)).astype(np.float32)))
        inputs += [graph.const(bound) for bound in host]
        return graph.add("_QuantizedMatMul", inputs, **self.attrs(fused, len(inputs)))

    def codes(self, random: np.random.Generator) -> Array:
        low, held_as = (0, np.uint8) if self.dtype == "quint8" else (-128, np.int8)
        return random.integers(low, low + 256, (self.rows, self.depth)).astype(held_as)

    def weight(self, random: np.random.Generator) -> Array:
        shape = (self.columns, self.depth) if self.transpose_b else (self.depth, self.columns)
        return random.integers(-127, 128, shape).astype(np.int8)

    def input_range(self, random: np.random.Generator) -> tuple[np.float32, np.float32]:
        lo, hi = np.float32(random.uniform(-3, 0)), np.float32(random.uniform(1, 4))
        if self.input_mode == "SCALED":
            lo = np.float32(0) if self.dtype == "quint8" else -hi
        return lo, hi

    def weight_range(self, random: np.random.Generator) -> tuple[Array, Array]:
        limits = random.uniform(0.05, 0.5, self.columns).astype(np.float32)
        limits = limits if self.per_channel else np.asarray(limits[0])
        return -limits, limits

    def attrs(self, fused: list[str], inputs: int) -> dict[str, Attr]:
        out = DType(self.out)
        return {
            "T1": DType(self.dtype),
            "T2": DType("qint8"),
            "Tbias": FLOAT,
            "U": FLOAT,
            "Tout": out,
            "Tdevice_inputs": (),
            "Tdevice_outputs": (),
            "Thost_inputs": (DType(self.dtype), DType("qint8"), *(FLOAT,) * (inputs - 2)),
            "Thost_outputs": (out,) if out == FLOAT else (out, FLOAT, FLOAT),
            "transpose_a": False,
            "transpose_b": self.transpose_b,
            "fused_ops": tuple(name.encode() for name in fused),
            "is_weight_const": True,
            "is_bias_const": True,
            "input_quant_mode": self.input_mode.encode(),
            "output_quant_mode": self.output_mode.encode(),
            "leakyrelu_alpha": 0.3,
        }


@given(rows=SIZES, depth=SIZES, columns=SIZES, dtype=st.sampled_from(["quint8", "qint8"]), seed=SEEDS)
def test_to_float(rows: int, depth: int, columns: int, dtype: str, seed: int) -> None:
    Product("BiasAdd Dequantize", rows, depth, columns, dtype, seed=seed).check()


@given(
    activation=st.sampled_from(["", *ACTIVATIONS]),
    dtype=st.sampled_from(["quint8", "qint8"]),
    out=st.sampled_from(["quint8", "qint8"]),
    per_channel=st.booleans(),
    transpose_b=st.booleans(),
    seed=SEEDS,
)
def test_to_codes(activation: str, dtype: str, out: str, per_channel: bool, transpose_b: bool, seed: int) -> None:
    fusion = f"BiasAdd {activation} Requantize"
    case = Product(fusion, 40, 33, 30, dtype, out, per_channel, transpose_b, seed=seed)
    case.check()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_to_float(activation: str) -> None:
    Product(f"BiasAdd {activation} Dequantize").check()


@given(fusion=st.sampled_from(["Dequantize", "Requantize"]), seed=SEEDS)
def test_input_codes_with_an_offset(fusion: str, seed: int) -> None:
    out = "quint8" if fusion == "Requantize" else "float32"
    Product(f"BiasAdd {fusion}", out=out, input_mode="MIN_FIRST", seed=seed).check()


@given(activation=st.sampled_from(["", *ACTIVATIONS]), seed=SEEDS)
def test_output_codes_with_an_offset(activation: str, seed: int) -> None:
    Product(f"BiasAdd {activation} Requantize", out="quint8", output_mode="MIN_FIRST", seed=seed).check()


@given(seed=SEEDS)
def test_float_addend(seed: int) -> None:
    Product("BiasAdd Add Dequantize", seed=seed).check()


@given(rows=SIZES, depth=SIZES, columns=SIZES, int_bias=st.booleans(), seed=SEEDS)
@pytest.mark.parametrize(
    ("kind", "out"), [("Dequantize", "float32"), ("Requantize", "quint8"), ("ReluAndRequantize", "quint8")]
)
def test_legacy(kind: str, out: str, rows: int, depth: int, columns: int, int_bias: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = OneOp()
    bias = random.integers(-5000, 5000, columns).astype(np.int32)
    host = (0.0, 2.0, -0.4, 0.4, 0.0, 5.0)
    inputs = [
        graph.fed(random.integers(0, 256, (rows, depth)).astype(np.uint8), "quint8"),
        graph.const(random.integers(-127, 128, (depth, columns)).astype(np.int8), "qint8"),
        graph.const(bias, "qint32") if int_bias else graph.const((bias / 5000).astype(np.float32)),
        *(graph.const(bound) for bound in host),
    ]
    types = {"T1": DType("quint8"), "T2": DType("qint8"), "Toutput": DType(out)}
    bias_type = {"Tbias": DType("qint32" if int_bias else "float32"), "input_quant_mode": b"SCALED"}
    ref = graph.add(f"QuantizedMatMulWithBiasAnd{kind}", inputs, **types, **bias_type, **TRANSPOSED)
    (expected,), (actual,) = graph.both(ref)
    if out == "float32":
        np.testing.assert_allclose(expected, actual, rtol=1e-5, atol=2e-5)
    else:
        assert_same_codes(expected, actual)
