"""The 8-bit graph of a plan: what is written, named, converted and kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.recipe import Override, Recipe
from eightfold.rewrites.correction import Correction
from eightfold.rewrites.weights import quantize_weight
from lowering import NEW, assert_tensorflow_agrees, lowered, outputs_of

INT32 = DType("int32")
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def chain(activation: str = "Relu") -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node(activation, w.conv(x, w.normal(3, 3, 4, 8, scale=0.2)))
    return w.model(y=w.conv(y, w.normal(1, 1, 8, 4)))


def test_a_plan_without_steps_gives_the_float_model() -> None:
    case = lowered(chain())
    plan = case.plan.without(*(step.name for step in case.plan.steps))
    again = lower_plan(case.model, plan, {})
    assert [(n.name, n.op, n.inputs) for n in again.graph] == [(n.name, n.op, n.inputs) for n in case.model.graph]


def test_a_tensor_is_quantized_once_for_all_its_readers() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    parts = [w.conv(x, w.normal(1, 1, 4, 4)) for _ in range(3)]
    case = lowered(w.model(a=parts[0], b=parts[1], c=parts[2]))
    assert case.ops["QuantizeV2"] == 1
    assert case.ops["Dequantize"] == 3


def test_a_tensor_is_dequantized_once_for_all_its_readers() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.conv(x, w.normal(1, 1, 4, 4))
    case = lowered(w.model(y=y, a=w.node("Tanh", y), b=w.node("Sigmoid", y)))
    assert case.ops["Dequantize"] == 1


def test_a_shape_is_read_off_the_codes() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)))
    shape = w.node("Shape", y, attrs={"out_type": INT32})
    z = w.conv(y, w.normal(1, 1, 4, 4))
    case = lowered(w.model(y=w.node("Reshape", z, shape, attrs={"Tshape": INT32})))
    assert case.ops["Dequantize"] == 1
    assert case.int8.graph["shape"].attrs["T"] == "quint8"


def test_weights_are_int8_and_the_float_ones_are_gone() -> None:
    case = lowered(chain())
    weights = [node for node in case.int8.graph if node.op == "Const" and str(node.attrs["dtype"]) == "qint8"]
    assert sorted(node.value.shape for node in weights) == [(1, 1, 8, 4), (3, 3, 4, 8)]
    assert all(node.value.dtype == np.int8 for node in weights)
    large = [node for node in case.int8.graph if node.op == "Const" and node.value.dtype.kind == "f"]
    assert max(node.value.size for node in large) == 8  # biases and scales only


def test_signatures_keep_their_names_and_follow_their_tensors() -> None:
    case = lowered(chain())
    assert dict(case.int8.default.inputs) == dict(case.model.default.inputs)
    assert list(case.int8.default.outputs) == ["y"]
    (spec,) = case.int8.default.outputs.values()
    assert case.int8.graph[spec.ref].op == "Dequantize"


def test_names_of_float_nodes_that_stay_are_not_taken() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.conv(x, w.normal(1, 1, 4, 4))
    other = w.node("Tanh", w.node("Neg", x, name="x/quantize"), name="conv/weight")
    case = lowered(w.model(y=y, z=other))
    assert case.int8.graph["x/quantize"].op == "Neg"
    assert case.int8.graph["conv/weight"].op == "Tanh"
    assert case.sqnr_db > 35


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (7, 63)])
def test_weight_bits(bits: int, largest: int) -> None:
    case = lowered(chain())
    written = lower_plan(case.model, case.plan, case.ranges, weight_bits=bits)
    signed, unsigned = (written.graph.constant(written.graph[name].inputs[1]) for name in ("relu", "conv_1"))
    assert signed is not None
    assert unsigned is not None
    assert np.abs(unsigned.astype(int)).max() == largest
    if bits == 7:  # over signed input oneDNN halves the codes itself where sums saturate: they are written doubled
        assert np.abs(signed.astype(int)).max() == 2 * largest
        assert not (signed % 2).any()


@pytest.mark.parametrize("kind", ["conv", "matmul", "matmul_relu"])
def test_corrections_replace_codes_and_add_to_the_bias(kind: str) -> None:
    """A learned bias moves the result by just that; learned codes are the weights that are multiplied."""
    w = Writer()
    conv = kind == "conv"
    x = w.input("x", (2, 6, 6, 4) if conv else (2, 4))
    value = w.normal(1, 1, 4, 8) if conv else w.normal(4, 8)
    y = w.bias(w.conv(x, value) if conv else w.matmul(x, value), w.normal(8) + 9)
    y = w.node("Relu", y) if kind == "matmul_relu" else y
    case = lowered(w.model(y=y), ranges={y: Range(-40.0, 40.0)})
    (step,) = case.plan.steps
    rounded = quantize_weight(value, (3,) if conv else (1,))
    shift = np.linspace(0, 2, 8)
    correction = Correction(np.zeros_like(rounded.codes), shift)
    written = lower_plan(case.model, case.plan, case.ranges, corrections={step.name: correction, "other": correction})
    (changed,) = evaluate(written.graph, outputs_of(written), case.feeds)
    bias = next(node.value for node in case.model.graph if node.op == "Const" and node.value.shape == (8,))
    expected = np.broadcast_to(bias + shift, changed.shape)  # nothing but the bias is left
    np.testing.assert_allclose(changed, expected, atol=0 if kind == "matmul" else 80 / 255, rtol=1e-6)


def test_one_scale_for_the_weights_that_the_recipe_names() -> None:
    override = Override(op="Conv2D", match="^conv$", per_channel=False)
    case = lowered(chain(), Recipe(overrides=(override,)))
    sizes = [case.int8.graph[node.inputs[5]].value.size for node in case.int8.graph if node.op.startswith("_Fused")]
    assert sizes == [1, 4]


@given(
    st.integers(7, 8),
    st.booleans(),
    st.sampled_from([(3,), (2, 3)]),
    st.integers(0, 999),
    st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e4]),
)
@settings(max_examples=60)
def test_rounded_weights(bits: int, per_channel: bool, axes: tuple[int, ...], seed: int, scale: float) -> None:
    value = (np.random.default_rng(seed).normal(0, 1, (3, 3, 4, 5)) * scale).astype(np.float32)
    value[..., 0] = 0
    weight = quantize_weight(value, axes, per_channel=per_channel, bits=bits)
    top = 2 ** (bits - 1) - 1
    assert np.abs(weight.codes.astype(int)).max() <= top
    channels = int(np.prod([value.shape[a] for a in axes])) if per_channel else 1
    assert weight.limit.shape == (channels,)
    shape = [size if axis in axes and per_channel else 1 for axis, size in enumerate(value.shape)]
    step = weight.scale.reshape(shape)
    assert (np.abs(weight.real - value) <= step * (0.5 + 1e-5)).all()
    others = tuple(axis for axis in range(4) if axis not in axes)
    np.testing.assert_allclose(weight.channel_sums(), weight.real.sum(others).reshape(-1))


@pytest.mark.int8
def test_a_deep_net_with_every_kind_of_step() -> None:
    w = Writer()
    x = w.input("x", (2, 8, 8, 4))
    stem = w.node("Relu6", w.bias(w.conv(x, w.normal(3, 3, 4, 8, scale=0.3), strides=2), w.normal(8)))
    deep = w.node("Relu", w.conv(stem, w.normal(3, 3, 8, 1, scale=0.4), depthwise=True))
    linear = w.bias(w.conv(deep, w.normal(1, 1, 8, 8, scale=0.3)), w.normal(8))
    total = w.node("AddV2", linear, stem)
    changed = w.node("Relu", w.node("AddV2", w.node("Mul", total, w.const(w.normal(8))), w.const(w.normal(8))))
    pooled = [w.node(kind, changed, attrs=POOL) for kind in ("MaxPool", "AvgPool")]
    joined = w.node("ConcatV2", *pooled, total, w.const(3), attrs={"N": 3, "Tidx": INT32})
    y = w.node("Relu", w.conv(joined, w.normal(3, 3, 24, 8, scale=0.1)))
    mean = w.node("Mean", y, w.const([1, 2]), attrs={"Tidx": INT32, "keep_dims": False})
    hidden = w.node("Elu", w.matmul(mean, w.normal(8, 6)))
    case = lowered(w.model(y=w.matmul(hidden, w.normal(6, 3))), NEW)
    assert case.plan.refusals == ()
    assert len(case.plan.regions) == 1
    assert case.sqnr_db > 22
    assert_tensorflow_agrees(case)


def test_an_output_that_is_also_read_in_8_bits() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)))
    case = lowered(w.model(feature=y, y=w.conv(y, w.normal(1, 1, 4, 4))))
    assert case.ops["QuantizeV2"] == 1
    assert case.ops["Dequantize"] == 2
    assert case.sqnr_db > 33


def test_a_missing_range_is_an_error_of_the_caller() -> None:
    case = lowered(chain())
    with pytest.raises(KeyError):
        lower_plan(case.model, case.plan, {Ref("x"): case.ranges[Ref("x")]})
