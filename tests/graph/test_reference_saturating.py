"""CPUs without VNNI: 8-bit weights saturate, 7-bit weights never do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.encoding import Code, Encoding
from eightfold.graph.ir import Array, Graph, Node, Ref, Shape
from eightfold.graph.reference import evaluate
from eightfold.graph.reference.convolution import convolve
from eightfold.graph.reference.saturating import SATURATING, saturating_convolution, saturating_product
from eightfold.graph.writer import Writer
from eightfold.quantization.lower import lower_plan
from eightfold.rewrites.builder import Builder, Coded
from eightfold.rewrites.kernels import CONV, DEPTHWISE, POINTWISE, fused_conv
from eightfold.rewrites.weights import Weight
from lowering import feeds_for, lowered, outputs_of

SAME = {**POINTWISE, "padding": b"SAME"}
DTYPES: dict[type, tuple[int, int]] = {np.uint8: (0, 255), np.int8: (-128, 127)}


def codes(random: np.random.Generator, kind: type, *shape: int) -> Array:
    """Codes of a type; half of them at one end, where sums are largest."""
    lo, hi = DTYPES[kind]
    values = random.integers(lo, hi + 1, shape)
    return np.where(random.random(shape) < 0.5, hi, values).astype(kind)


def weights(random: np.random.Generator, bits: int, *shape: int) -> Array:
    top = 2 ** (bits - 1) - 1
    signs = np.where(random.random(shape) < 0.8, 1, -1)
    return (signs * np.maximum(random.integers(top // 2, top + 1, shape), 0)).astype(np.int8)


def exact(x: Array, weight: Array) -> Array:
    return x.astype(np.int64) @ weight.astype(np.int64)


def test_the_bounds_of_two_products() -> None:
    largest = np.full((1, 2), 255, np.uint8)
    assert 255 * 63 * 2 == 32130 <= np.iinfo(np.int16).max < 255 * 127 * 2
    assert saturating_product(largest, np.full((2, 1), 63, np.int8)) == 32130
    assert saturating_product(largest, np.full((2, 1), 127, np.int8)) == 32767
    assert saturating_product(largest, np.full((2, 1), -127, np.int8)) == -32768
    assert saturating_product(largest, np.full((2, 1), 64, np.int8)) == 255 * 64 * 2  # 64 would do, 65 would not
    assert saturating_product(largest, np.full((2, 1), 65, np.int8)) == 32767


@given(st.integers(0, 10**6), st.sampled_from(list(DTYPES)), st.integers(1, 9))
def test_seven_bits_never_saturate(seed: int, kind: type, depth: int) -> None:
    random = np.random.default_rng(seed)
    x, weight = codes(random, kind, 3, depth), weights(random, 7, depth, 4)
    assert np.array_equal(saturating_product(x, weight), exact(x, weight))


@pytest.mark.parametrize("kind", list(DTYPES))
@pytest.mark.parametrize("bits", [7, 8])
def test_a_matrix_product(kind: type, bits: int) -> None:
    random = np.random.default_rng(bits)
    x, weight = codes(random, kind, 6, 16), weights(random, bits, 16, 5)
    difference = saturating_product(x, weight) - exact(x, weight)
    assert (difference == 0).all() if bits == 7 else np.abs(difference).max() > 20_000


@pytest.mark.parametrize("bits", [7, 8])
def test_a_convolution_with_padding(bits: int) -> None:
    random = np.random.default_rng(bits)
    x, weight = codes(random, np.uint8, 2, 5, 5, 6), weights(random, bits, 3, 3, 6, 4)
    node = Node("conv", "Conv2D", attrs=SAME)
    difference = saturating_convolution(node, x, weight) - convolve(node, x, weight)
    assert (difference == 0).all() if bits == 7 else np.abs(difference).max() > 20_000


def test_a_convolution_over_signed_codes() -> None:
    """It never saturates; odd codes lose a bit, even ones are exact."""
    random = np.random.default_rng(0)
    x, weight = codes(random, np.int8, 2, 5, 5, 6), weights(random, 7, 3, 3, 6, 4)
    node = Node("conv", "Conv2D", attrs=SAME)
    assert np.array_equal(saturating_convolution(node, x, weight * np.int8(2)), convolve(node, x, weight) * 2)
    odd = np.full((3, 3, 6, 4), 127, np.int8)
    assert np.array_equal(saturating_convolution(node, x, odd), convolve(node, x, odd.astype(np.int16) + 1))


# --- a model as a whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "same"), [(7, True), (8, False)])
def test_a_model(bits: int, same: bool) -> None:
    """Convolutions over positive and signed tensors, a depthwise one, and a matrix product."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.node("Relu", w.bias(w.conv(x, np.abs(w.normal(3, 3, 8, 16, scale=0.2))), w.normal(16)))
    y = w.conv(y, w.normal(3, 3, 16, 1, scale=0.4), depthwise=True)
    y = w.node("Relu6", w.conv(y, w.normal(3, 3, 16, 16, scale=0.1)))
    mean = w.node("Reshape", y, w.const([2, 576]))
    model = w.model(y=w.node("Relu", w.matmul(mean, np.abs(w.normal(576, 8, scale=0.02)))))
    feeds = feeds_for(model, lo=0.5)
    case = lowered(model, feeds=feeds)
    graph = lower_plan(model, case.plan, case.ranges, weight_bits=bits).graph
    assert {CONV, DEPTHWISE} <= {node.op for node in graph}
    (ordinary,) = evaluate(graph, outputs_of(model), feeds)
    (saturated,) = evaluate(graph, outputs_of(model), feeds, kernels=SATURATING)
    assert np.array_equal(ordinary, saturated) == same


# --- the kernels themselves ---------------------------------------------------------------------------------------

WITHOUT_VNNI = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from test_reference_saturating import CASES, kernel_case
from lowering import plain
from eightfold.tf.session import Runner
for case in CASES:
    graph, ref = kernel_case(*case)
    with Runner(graph, intra=1, inter=1) as run:
        (codes,) = run([ref], {})
    np.save(f"{sys.argv[1]}/{'-'.join(map(str, case))}.npy", plain(codes))
"""
CASES = [(op, code, bits) for op in (CONV, DEPTHWISE) for code in ("UNSIGNED", "SIGNED") for bits in (7, 8)]


def kernel_case(op: str, code: str, bits: int) -> tuple[Graph, Ref]:
    """A kernel over codes nearly all of which are large."""
    random = np.random.default_rng(bits)
    builder = Builder(Graph(), {}, lambda _: Shape.UNKNOWN)
    encoding = Encoding(Code[code], 1.0)
    kind = np.uint8 if code == "UNSIGNED" else np.int8
    x = Coded(builder.const("x", codes(random, kind, 2, 6, 6, 16), encoding.dtype), encoding)
    depthwise = op == DEPTHWISE
    values = weights(random, bits, *((3, 3, 16, 1) if depthwise else (3, 3, 16, 8)))
    weight = Weight(values, np.ones(16 if depthwise else 8, np.float32), (2, 3) if depthwise else (3,))
    out = Encoding(Code.SIGNED, 8.0 if depthwise else 100.0)
    ref = fused_conv(builder, op, "conv", x, weight, None, out, geometry=SAME)
    return builder.graph(), ref


@pytest.mark.int8
def test_the_kernels_without_vnni_compute_the_same(tmp_path: Path) -> None:
    """oneDNN can be told to take this CPU for one with AVX2 alone."""
    places = [str(tmp_path), str(Path(__file__).parent), str(Path(__file__).parents[1])]
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_VNNI, *places],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    for case in CASES:
        graph, ref = kernel_case(*case)
        actual = np.load(tmp_path / f"{'-'.join(map(str, case))}.npy").astype(int)
        (saturated,) = evaluate(graph, [ref], kernels=SATURATING)
        (ordinary,) = evaluate(graph, [ref])
        assert np.abs(actual - saturated).max() <= 1, case
        if case == (CONV, "UNSIGNED", 8):
            assert np.abs(actual - ordinary).max() > 10
        if case[-1] == 7:
            assert np.array_equal(saturated, ordinary), case
