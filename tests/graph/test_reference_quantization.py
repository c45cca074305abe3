"""QuantizeV2 and Dequantize against TensorFlow on the same numbers and codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, OneOp, assert_same_codes

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref
from eightfold.graph.reference import evaluate

CODES = {"quint8": np.arange(256).astype(np.uint8), "qint8": np.arange(-128, 128).astype(np.int8)}
LIMITS = st.floats(0.02, 100).map(np.float32)
NARROW = st.floats(1e-5, 5e-3).map(np.float32)


def quantize_attrs(dtype: str, mode: bytes, **more: Attr) -> dict[str, Attr]:
    rounding = b"HALF_TO_EVEN" if mode == b"SCALED" else b"HALF_AWAY_FROM_ZERO"
    attrs = {"T": DType(dtype), "mode": mode, "round_mode": rounding, "narrow_range": mode == b"SCALED"}
    return {**attrs, "axis": -1, "ensure_minimum_range": 0.0, **more}


def check_quantize(lo: float, hi: float, attrs: dict[str, Attr], spread: float = 1.2) -> None:
    graph = OneOp()
    values = np.random.default_rng(1).uniform(lo * spread, hi * spread, (2, 9, 8, 5)).astype(np.float32)
    ref = graph.add("QuantizeV2", [graph.fed(values), graph.const(lo), graph.const(hi)], **attrs)
    expected, actual = graph.both(ref, Ref(ref.node, 1), Ref(ref.node, 2))
    assert_same_codes(expected[0], actual[0])
    np.testing.assert_allclose(expected[1:], actual[1:], rtol=1e-6)


@given(limit=LIMITS)
def test_scaled_unsigned(limit: float) -> None:
    check_quantize(0.0, limit, quantize_attrs("quint8", b"SCALED", narrow_range=False))


@given(limit=LIMITS)
def test_scaled_signed(limit: float) -> None:
    check_quantize(-limit, limit, quantize_attrs("qint8", b"SCALED"))


@given(below=LIMITS, above=LIMITS, dtype=st.sampled_from(["quint8", "qint8"]))
def test_affine(below: float, above: float, dtype: str) -> None:
    check_quantize(-below, above, quantize_attrs(dtype, b"MIN_COMBINED"))


@given(zero=st.integers(0, 255), limit=LIMITS)
def test_affine_with_a_whole_zero_point_in_mode_min_first(zero: int, limit: float) -> None:
    lo = np.float32(-limit * zero / 255)
    check_quantize(lo, np.float32(limit + lo), quantize_attrs("quint8", b"MIN_FIRST"))


@given(limit=NARROW)
def test_a_narrow_range_is_widened_unless_told_otherwise(limit: float) -> None:
    check_quantize(0.0, limit, quantize_attrs("quint8", b"MIN_COMBINED", ensure_minimum_range=0.01))
    check_quantize(0.0, limit, quantize_attrs("quint8", b"MIN_COMBINED"))


def test_zero_is_added_to_a_range() -> None:
    check_quantize(0.5, 2.0, quantize_attrs("quint8", b"MIN_COMBINED"))
    check_quantize(-2.0, -0.5, quantize_attrs("quint8", b"MIN_COMBINED"))


def test_a_range_for_each_channel() -> None:
    graph = OneOp()
    values = np.random.default_rng(2).standard_normal((2, 7, 7, 4)).astype(np.float32)
    limits = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    inputs = [graph.fed(values), graph.const(-limits), graph.const(limits)]
    (expected,), (actual,) = graph.both(graph.add("QuantizeV2", inputs, **quantize_attrs("qint8", b"SCALED", axis=3)))
    assert_same_codes(expected, actual)


def check_dequantize(codes: Array, dtype: str, lo: float, hi: float, **attrs: Attr) -> None:
    graph = OneOp()
    inputs = [graph.fed(codes, dtype), graph.const(lo), graph.const(hi)]
    options = {"narrow_range": False, "axis": -1, "dtype": FLOAT, **attrs}
    (expected,), (actual,) = graph.both(graph.add("Dequantize", inputs, T=DType(dtype), **options))
    ulp = np.finfo(np.float32).eps  # of the last sum, which the kernel fuses with the product on some CPUs
    np.testing.assert_allclose(expected, actual, rtol=ulp, atol=1e-6 * (hi - lo))


@given(limit=LIMITS)
def test_scaled_codes_to_numbers(limit: float) -> None:
    check_dequantize(CODES["quint8"], "quint8", 0.0, limit, mode=b"SCALED")
    check_dequantize(CODES["qint8"], "qint8", -limit, limit, mode=b"SCALED")
    check_dequantize(CODES["qint8"], "qint8", -limit, limit, mode=b"SCALED", narrow_range=True)


@given(lo=st.floats(-50, 50), width=LIMITS, dtype=st.sampled_from(["quint8", "qint8"]))
def test_affine_codes_to_numbers_over_any_range(lo: float, width: float, dtype: str) -> None:
    lo = np.float32(lo)
    check_dequantize(CODES[dtype], dtype, lo, np.float32(lo + width), mode=b"MIN_COMBINED")


@given(below=st.floats(0.013, 0.987), limit=LIMITS)
def test_min_first_moves_zero_to_a_code(below: float, limit: float) -> None:
    lo = np.float32(-limit * below)
    if abs(below * 255 % 1 - 0.5) > 0.01:  # at a tie, float32 decides which code
        check_dequantize(CODES["quint8"], "quint8", lo, np.float32(limit + lo), mode=b"MIN_FIRST")


@pytest.mark.parametrize(
    ("dtype", "lo", "reason"),
    [("quint8", -1.0, "needs a range that starts at 0"), ("qint8", -1.0, "needs narrow_range")],
)
def test_forms_on_which_kernels_disagree_are_refused(dtype: str, lo: float, reason: str) -> None:
    refs = Ref("x"), Ref("lo"), Ref("hi")
    attrs = quantize_attrs(dtype, b"SCALED", narrow_range=False)
    graph = Graph([*(Node(ref.node, "Placeholder") for ref in refs), Node("q", "QuantizeV2", refs, attrs)])
    feeds = dict(zip(refs, (np.zeros(3, np.float32), np.float32(lo), np.float32(1)), strict=True))
    with pytest.raises(ModelError, match=reason):
        evaluate(graph, [Ref("q")], feeds)
