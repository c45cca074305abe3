"""The kernel of a fused sum adds into its summand's buffer: a copy protects every other reader."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.graph.edit import const_node
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.summands import protect_summands
from eightfold.tf.session import Runner
from lowering import OF_THIS_CPU, Lowered, assert_tensorflow_agrees, lowered, outputs_of

POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def residual(reader: str) -> Model:
    """relu(conv(relu(conv(s)) + s), and somebody else who may read the summand s."""
    w = Writer()
    x = w.input("x", (2, 8, 8, 16))
    s = w.node("Relu", w.conv(x, w.normal(3, 3, 16, 16, scale=0.1)), name="summand")
    data = s if reader in ("ancestor", "itself") else x
    if reader == "ancestor":
        data = w.node("Relu", w.conv(data, w.normal(3, 3, 16, 16, scale=0.1)))
    total = w.node("Relu", w.node("AddV2", w.conv(data, w.normal(3, 3, 16, 16, scale=0.1)), s), name="total")
    outputs = {"y": w.conv(total, w.normal(1, 1, 16, 4))}
    if reader == "other":
        outputs["other"] = w.conv(s, w.normal(3, 3, 16, 4))
    if reader == "pool":
        outputs["other"] = w.conv(w.node("MaxPool", s, attrs=POOL), w.normal(1, 1, 16, 4))
    if reader == "reshape":
        flat = w.node("Reshape", s, w.const([2, 64, 1, 16]), attrs={"Tshape": DType("int32")})
        outputs["other"] = w.conv(flat, w.normal(1, 1, 16, 4))
    if reader == "transpose":
        turned = w.node("Transpose", s, w.const([0, 1, 2, 3]), attrs={"Tperm": DType("int32")})
        outputs["other"] = w.conv(turned, w.normal(1, 1, 16, 4))
    if reader == "slice":
        part = w.node("Slice", s, w.const([0, 0, 0, 0]), w.const([1, -1, -1, -1]), attrs={"Index": DType("int32")})
        outputs["other"] = w.conv(part, w.normal(1, 1, 16, 4))
    if reader == "dequantized":
        outputs["other"] = s
    if reader == "second sum":
        data = w.conv(x, w.normal(1, 1, 16, 16))
        outputs["other"] = w.node("Relu", w.node("AddV2", data, s))
    return w.model(**outputs)


def copies(model: Model) -> int:
    return sum("/copy" in node.name for node in model.graph)


def all_codes(case: Lowered) -> None:
    """Many runs of the whole graph: a race over a buffer does not show in every one."""
    expected = evaluate(case.int8.graph, outputs_of(case.int8), case.feeds, kernels=OF_THIS_CPU[0])
    with Runner.of(case.int8, inter=2) as run:
        for _ in range(20):
            for right, actual in zip(expected, run(outputs_of(case.int8), case.feeds), strict=True):
                np.testing.assert_allclose(actual, right, atol=2.1 / 255 * np.abs(right).max())


@pytest.mark.int8
@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ("nobody", 0),
        ("ancestor", 0),
        ("itself", 1),
        ("other", 1),
        ("pool", 1),
        ("reshape", 1),
        ("transpose", 1),
        ("slice", 1),
        ("dequantized", 1),
        ("second sum", 2),
    ],
)
def test_a_copy_is_made_where_somebody_else_may_still_read(reader: str, expected: int) -> None:
    case = lowered(residual(reader))
    assert "total" in {step.name for step in case.plan.steps}
    assert copies(case.int8) == expected
    all_codes(case)
    assert case.sqnr_db > 30
    if expected < 2:
        assert_tensorflow_agrees(case)


@pytest.mark.int8
def test_summands_that_come_from_the_input_or_a_concat() -> None:
    w = Writer()
    x = w.input("x", (2, 8, 8, 4))
    y = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)))
    joined = w.node("ConcatV2", y, x, w.const(3), attrs={"N": 2, "Tidx": DType("int32")})
    total = w.node("AddV2", w.conv(joined, w.normal(1, 1, 8, 8, scale=0.2)), joined)
    case = lowered(w.model(y=w.conv(total, w.normal(1, 1, 8, 4))))
    assert {"concat", "conv_add"} <= {step.rewrite.name for step in case.plan.steps}
    all_codes(case)


@pytest.mark.int8
def test_a_sum_of_a_tensor_with_itself() -> None:
    w = Writer()
    x = w.input("x", (2, 8, 8, 4))
    y = w.node("MaxPool", w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4))), attrs=POOL)
    case = lowered(w.model(y=w.conv(w.node("AddV2", y, y), w.normal(1, 1, 4, 4))))
    assert "add" in {step.rewrite.name for step in case.plan.steps}
    assert copies(case.int8) == 1
    all_codes(case)
    assert case.sqnr_db > 33


def fused_sum(summand: Ref) -> list[Node]:
    types = {"Tdevice_inputs": tuple(DType(t) for t in ("quint8", "qint8", "float32", "quint8"))}
    names = ("weight", "bias", "lo", "hi")
    constants = [const_node(name, np.zeros(1, np.float32)) for name in names]
    inputs = [Ref("x"), Ref("weight"), Ref("bias"), summand, *[Ref("lo"), Ref("hi")] * 4]
    fused = {"fused_ops": (b"BiasAdd", b"Sum", b"Relu", b"Requantize")}
    return [*constants, Node("sum", "_FusedQuantizedConv2D", tuple(inputs), {**types, **fused})]


def model_of(nodes: list[Node], *outputs: str) -> Model:
    specs = {name: TensorSpec(Ref(name), DType("quint8"), Shape.UNKNOWN) for name in outputs}
    return Model(Graph(nodes), {"serving_default": Signature("serving_default", {}, specs)})


PLACEHOLDER = {"dtype": DType("quint8"), "shape": Shape((1, 2, 2, 1))}


@pytest.mark.parametrize("alias", [None, "Reshape", "Identity", "Bitcast", "Squeeze"])
def test_a_summand_that_is_fed_is_copied(alias: str | None) -> None:
    nodes = [Node("x", "Placeholder", (), PLACEHOLDER), Node("s", "Placeholder", (), PLACEHOLDER)]
    if alias:
        nodes.append(Node("renamed", alias, (Ref("s"),), {}))
    after = protect_summands(model_of([*nodes, *fused_sum(Ref("renamed" if alias else "s"))], "sum"))
    copy = after.graph[after.graph["sum"].inputs[3]]
    assert (copy.op, copy.attrs["ksize"], copy.attrs["T"]) == ("QuantizedMaxPool", (1, 1, 1, 1), "quint8")
    assert copy.inputs == (Ref("renamed" if alias else "s"), Ref("lo"), Ref("hi"))


def test_a_summand_that_is_fetched_is_copied() -> None:
    nodes = [Node("x", "Placeholder", (), PLACEHOLDER), Node("s", "QuantizedRelu", (Ref("x"),), {})]
    assert copies(protect_summands(model_of([*nodes, *fused_sum(Ref("s"))], "sum", "s"))) == 1
    assert copies(protect_summands(model_of([*nodes, *fused_sum(Ref("s"))], "sum"))) == 0


def renamed(w: Writer, how: str, s: Ref) -> Ref:
    """The same numbers by an op that may give out the buffer that it was given."""
    int32 = DType("int32")
    if how == "transpose":
        return w.node("Transpose", s, w.const([0, 1, 2, 3]), attrs={"Tperm": int32})
    if how == "slice":
        return w.node("Slice", s, w.const([0, 0, 0, 0]), w.const([-1, -1, -1, -1]), attrs={"Index": int32})
    if how == "strided slice":
        bounds = [w.const(values) for values in ([0, 0, 0, 0], [2, 8, 8, 16], [1, 1, 1, 1])]
        masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        return w.node("StridedSlice", s, *bounds, attrs={"Index": int32, **dict.fromkeys(masks, 0)})
    if how == "resize":
        size = w.const([8, 8])
        return w.node("ResizeNearestNeighbor", s, size, attrs={"align_corners": False, "half_pixel_centers": False})
    if how == "pad":
        return w.node("Pad", s, w.const(np.zeros((4, 2), np.int32)), attrs={"Tpaddings": int32})
    return w.node("Reshape", s, w.const([2, 8, 8, 16]), attrs={"Tshape": int32})


@pytest.mark.int8
@pytest.mark.parametrize("how", ["transpose", "slice", "strided slice", "resize", "pad", "reshape"])
def test_a_summand_under_another_name_is_copied_where_somebody_else_reads_it(how: str) -> None:
    w = Writer()
    x = w.input("x", (2, 8, 8, 16))
    s = w.node("Relu", w.conv(x, w.normal(3, 3, 16, 16, scale=0.1)))
    summand = renamed(w, how, s)
    total = w.node("Relu", w.node("AddV2", w.conv(x, w.normal(1, 1, 16, 16, scale=0.1)), summand))
    case = lowered(w.model(y=w.conv(total, w.normal(1, 1, 16, 4)), other=w.conv(s, w.normal(3, 3, 16, 4))))
    assert "conv_add_relu" in {step.rewrite.name for step in case.plan.steps}
    all_codes(case)
