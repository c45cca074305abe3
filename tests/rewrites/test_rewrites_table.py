"""Every rewrite, by its own example: what it consumes, how close it is, and that TensorFlow computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.graph.ir import Ref
from eightfold.quantization.plan import Step, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.rewrites import REWRITES
from eightfold.rewrites.rewrite import Rewrite
from lowering import NEW, assert_tensorflow_agrees, feeds_for, lowered, tensors_of

EVERY = pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)

CONSUMED = {
    "conv_add_relu": {"Relu", "AddV2", "Conv2D"},
    "conv_add": {"AddV2", "Conv2D"},
    "conv_relu": {"Relu", "BiasAdd", "Conv2D"},
    "conv": {"BiasAdd", "Conv2D"},
    "depthwise_add_relu": {"Relu", "AddV2", "BiasAdd", "DepthwiseConv2dNative"},
    "depthwise_add": {"AddV2", "BiasAdd", "DepthwiseConv2dNative"},
    "depthwise_relu": {"Relu", "BiasAdd", "DepthwiseConv2dNative"},
    "depthwise": {"BiasAdd", "DepthwiseConv2dNative"},
    "matmul_relu": {"Relu", "BiasAdd", "MatMul"},
    "matmul_elu": {"Elu", "BiasAdd", "MatMul"},
    "matmul_leaky_relu": {"LeakyRelu", "BiasAdd", "MatMul"},
    "matmul_sigmoid": {"Sigmoid", "BiasAdd", "MatMul"},
    "matmul_tanh": {"Tanh", "BiasAdd", "MatMul"},
    "matmul_gelu_erf": {"Mul", "AddV2", "Erf", "BiasAdd", "MatMul"},
    "matmul_gelu_tanh": {"Mul", "AddV2", "Tanh", "Pow", "BiasAdd", "MatMul"},
    "matmul": {"BiasAdd", "MatMul"},
    "maxpool": {"MaxPool"},
    "avgpool": {"AvgPool"},
    "mean": {"Mean"},
    "affine_relu": {"Relu", "AddV2", "Mul"},
    "affine": {"AddV2", "Mul"},
    "add_relu": {"Relu", "AddV2"},
    "add": {"AddV2"},
    "relu": {"Relu"},
    "leaky_relu": {"LeakyRelu"},
    "reshape": {"Reshape"},
    "transpose": {"Transpose"},
    "pad": {"Pad"},
    "concat": {"ConcatV2"},
}
"""The ops of the example that one step takes in."""


def step_of(rewrite: Rewrite) -> Step:
    plan = lowered(rewrite.example()).plan
    (step,) = [s for s in plan.steps if s.rewrite is rewrite][-1:]
    return step


def test_names_are_unique_and_the_table_is_complete() -> None:
    names = [rewrite.name for rewrite in REWRITES]
    assert len(set(names)) == len(names)
    assert set(names) <= set(CONSUMED), "a rewrite was added: say what its example must consume"


@EVERY
def test_it_consumes_exactly_the_nodes_of_its_example(rewrite: Rewrite) -> None:
    step = step_of(rewrite)
    assert {step.match.graph[name].op for name in step.match.nodes} == CONSUMED[rewrite.name]
    assert len(step.match.nodes) == len(set(step.match.nodes))
    assert step.match.root == step.match.graph[step.name].ref


@EVERY
def test_everything_in_its_example_becomes_8_bit(rewrite: Rewrite) -> None:
    case = lowered(rewrite.example())
    assert case.plan.refusals == ()
    assert case.ops[rewrite.int8_op] >= 1
    float_ops = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "Relu", "BiasAdd", "MaxPool", "AvgPool", "Mean"}
    assert not float_ops & set(case.ops)
    assert len(case.plan.regions) == 1


@EVERY
def test_the_8_bit_graph_is_close_to_the_float_graph(rewrite: Rewrite) -> None:
    """8 bits over a uniform range give 59 dB - headroom; two or three roundings in a row cost up to 20 dB."""
    assert lowered(rewrite.example()).sqnr_db >= 35


@EVERY
def test_other_data_is_as_close(rewrite: Rewrite) -> None:
    """Ranges from one draw of 576 values, outputs from another: the few values beyond the ends saturate."""
    case = lowered(rewrite.example())
    again = lowered(rewrite.example(), feeds=feeds_for(case.model, seed=1), ranges=case.ranges)
    assert again.sqnr_db >= 20


@EVERY
@pytest.mark.int8
def test_tensorflow_computes_the_same_codes(rewrite: Rewrite) -> None:
    assert_tensorflow_agrees(lowered(rewrite.example()))


@EVERY
@pytest.mark.int8
def test_the_fused_op_is_what_the_table_says(rewrite: Rewrite) -> None:
    """The node that bears the name of the float root, or the one before it, is the declared op."""
    case = lowered(rewrite.example())
    step = step_of(rewrite)
    near = case.int8.graph.ancestors([step.name])
    assert rewrite.int8_op in {case.int8.graph[name].op for name in near}


@EVERY
def test_signed_and_positive_and_negative_input(rewrite: Rewrite) -> None:
    """Input of one sign only: an offset, or no sign, where the ranges allow it."""
    for lo, hi in ((0.0, 1.0), (-1.0, 0.0), (-3.0, 0.25)):
        model = rewrite.example()
        case = lowered(model, feeds=feeds_for(model, lo=lo, hi=hi))
        signal = float(np.square(case.expected[0]).mean())
        noise = float(np.square(case.expected[0] - case.actual[0]).mean())
        assert noise <= max(signal * 10**-3, 1e-12), (lo, hi)


@EVERY
def test_without_offsets(rewrite: Rewrite) -> None:
    case = lowered(rewrite.example(), Recipe(min_tensorflow="2.17", offsets=False))
    assert case.sqnr_db >= 30


@EVERY
def test_one_scale_for_each_weight(rewrite: Rewrite) -> None:
    case = lowered(rewrite.example(), Recipe(min_tensorflow="2.17", per_channel=False))
    assert case.sqnr_db >= 28


def test_newer_kernels_are_refused_for_an_old_tensorflow() -> None:
    for rewrite in REWRITES:
        model = rewrite.example()
        plan = make_plan(model, tensors_of(model, feeds_for(model)), Recipe())
        used = {step.rewrite.name for step in plan.steps}
        assert (rewrite.name in used) == (rewrite.tensorflow <= (2, 16))
    assert NEW.min_tensorflow == "2.17"


def test_a_result_in_8_bits_is_registered_under_the_float_name() -> None:
    for rewrite in REWRITES:
        step = step_of(rewrite)
        case = lowered(rewrite.example())
        if step.gives:
            assert Ref(step.name) in case.encodings
            assert step.name in case.int8.graph
