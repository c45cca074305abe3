"""Means of sums in 8 bits, from means of codes alone."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.calibration.means import channel_means
from eightfold.calibration.preactivation import biased_sum, float_preactivation, mean_over_examples
from eightfold.graph.ir import Array, DType, Graph, Ref
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.quantization.plan import Step
from eightfold.rewrites import REWRITES
from eightfold.rewrites.rewrite import Rewrite
from lowering import Lowered, feeds_for, lowered

PRODUCTS = [rewrite for rewrite in REWRITES if rewrite.name.startswith(("conv", "depthwise", "matmul"))]


def int8_mean(case: Lowered, step: Step) -> Array:
    """The mean before the activation, as the 8-bit graph has it."""
    graph = case.int8.graph
    found = biased_sum(graph, step.name)
    assert found is not None
    codes = evaluate(graph, found.reads, case.feeds)
    means = {ref: mean_over_examples(value) for ref, value in zip(found.reads, codes, strict=True)}
    offset = case.encodings[step.match.root].offset if found.holds_offset else 0.0
    result: Array = found.mean(graph, means) + graph[found.bias].value - offset
    return result


def float_mean(case: Lowered, step: Step) -> Array:
    reference = float_preactivation(step.match)
    assert reference is not None
    (value,) = evaluate(case.model.graph, [reference], case.feeds)
    result: Array = value.mean(axis=tuple(range(value.ndim - 1)), dtype=np.float64)
    return result


@pytest.mark.parametrize("rewrite", PRODUCTS, ids=lambda rewrite: rewrite.name)
def test_every_product_of_the_table(rewrite: Rewrite) -> None:
    """The means of both graphs are as close as 8 bits allow, whatever the activation does afterwards."""
    model = rewrite.example()
    case = lowered(model, feeds=feeds_for(model, batch=16, lo=-0.5))
    step = next(step for step in case.plan.steps if step.rewrite is rewrite)
    assert np.abs(int8_mean(case, step) - float_mean(case, step)).max() < 0.02


def test_the_float_tensor_is_what_the_activation_reads() -> None:
    for rewrite in PRODUCTS:
        case = lowered(rewrite.example())
        step = next(step for step in case.plan.steps if step.rewrite is rewrite)
        reference = float_preactivation(step.match)
        assert reference is not None
        assert case.model.graph[reference].op in ("BiasAdd", "AddV2"), rewrite.name


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("padding", "strides", "dilation"), [("SAME", 1, 1), ("SAME", 2, 1), ("VALID", 1, 2)])
def test_padding_strides_and_dilations_count_as_they_should(
    padding: str, strides: int, dilation: int, *, depthwise: bool
) -> None:
    """The mean of the sums is exact: here the sums themselves are computed, from the same codes."""
    w = Writer()
    x = w.node("Relu", w.input("x", (4, 7, 6, 3)))
    weight = w.normal(3, 3, 3, 2)
    y = w.conv(x, weight, padding=padding, strides=strides, dilation=dilation, depthwise=depthwise)
    case = lowered(w.model(y=w.node("Relu", w.bias(y, w.normal(6 if depthwise else 2)))))
    (step,) = (step for step in case.plan.steps if "conv" in step.match.named)
    found = biased_sum(case.int8.graph, step.name)
    assert found is not None
    (codes,) = evaluate(case.int8.graph, found.reads, case.feeds)
    rounded = case.int8.graph[found.node.inputs[1]].value
    limit = np.abs(weight).max(axis=(0, 1) if depthwise else (0, 1, 2))
    real = {step.match.refs["x"]: case.encodings[step.match.refs["x"]].dequantize(codes)}
    exact = _with_weight(case, step, (rounded * (limit / 127)).astype(np.float32))
    (sums,) = evaluate(exact, [step.match.named["conv"].ref], real)
    found_mean = found.mean(case.int8.graph, {found.reads[0]: mean_over_examples(codes)})
    np.testing.assert_allclose(found_mean, sums.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def _with_weight(case: Lowered, step: Step, weight: Array) -> Graph:
    name = step.match.refs["filter"].node
    return case.model.graph.mapped(lambda node: node.with_attrs(value=weight) if node.name == name else node)


def test_only_what_adds_a_constant_bias_is_a_sum() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)))
    pool = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}
    y = w.node("MaxPool", y, attrs=pool)
    case = lowered(w.model(y=w.conv(y, w.normal(1, 1, 4, 4))))
    pooled = next(step for step in case.plan.steps if step.match.node.op == "MaxPool")
    assert float_preactivation(pooled.match) is None
    assert biased_sum(case.int8.graph, pooled.name) is None


def test_means_of_codes_and_numbers() -> None:
    codes = np.array([[255, 0], [254, 1]], np.uint8)
    np.testing.assert_array_equal(mean_over_examples(codes), [254.5, 0.5])
    np.testing.assert_array_equal(mean_over_examples(codes.view([("quint8", np.uint8)])), [254.5, 0.5])
    np.testing.assert_array_equal(mean_over_examples(np.float32([[1], [2]])), [1.5])
    np.testing.assert_array_equal(mean_over_examples(np.zeros((0, 2), np.uint8)), [np.nan, np.nan])


def test_channel_means_of_each_batch() -> None:
    w = Writer()
    x = w.input("x", (None, 3, 3, 2))
    rows = w.node("Reshape", x, w.const([-1, 2]), attrs={"Tshape": DType("int32")})
    model = w.model(image=w.node("Neg", x), rows=rows)
    batches = [{x: np.full((size, 3, 3, 2), size, np.float32)} for size in (2, 5)]
    found = list(channel_means(model.graph, {Ref("neg"): 4, rows: 2}, batches, _numpy))
    assert [{str(ref): value.tolist() for ref, value in means.items()} for means in found] == [
        {"neg:0": [-2, -2], "reshape:0": [2, 2]},
        {"neg:0": [-5, -5], "reshape:0": [5, 5]},
    ]


class _numpy:
    """Runs a graph in NumPy."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __enter__(self) -> object:
        return lambda fetches, feeds: evaluate(self._graph, fetches, feeds)

    def __exit__(self, *_: object) -> None: ...
