"""Nodes in bfloat16: where casts are written, and where none are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from eightfold.graph.ir import DType, Graph, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.passes.bfloat16 import DATA_INPUTS, to_bfloat16
from lowering import feeds_for, outputs_of

INT32, FLOAT, BFLOAT16 = DType("int32"), DType("float32"), DType("bfloat16")
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"SAME", "data_format": b"NHWC"}


def chain() -> Model:
    """stem ─ pool ─ branch, biased ─ Concat ─ Mean ─ MatMul, and the pool as a second output."""
    w = Writer()
    x = w.input("x", (2, 8, 8, 4))
    stem = w.node("Relu", w.conv(x, w.normal(3, 3, 4, 8, scale=0.3)), name="stem")
    pool = w.node("MaxPool", stem, attrs=POOL, name="pool")
    branch = w.node("Relu6", w.conv(pool, w.normal(3, 3, 8, 1, scale=0.3), depthwise=True), name="branch")
    biased = w.bias(w.conv(pool, w.normal(1, 1, 8, 8, scale=0.3)), w.normal(8))
    joined = w.node("ConcatV2", branch, biased, w.const(3, "axis"), attrs={"N": 2, "Tidx": INT32})
    mean = w.node("Mean", joined, w.const([1, 2], "axes"), attrs={"Tidx": INT32, "keep_dims": False})
    return w.model(y=w.matmul(mean, w.normal(16, 4)), pool=pool)


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph)


def closeness(model: Model, changed: Model) -> float:
    feeds = feeds_for(model)
    before = evaluate(model.graph, outputs_of(model), feeds)
    after = evaluate(changed.graph, outputs_of(changed), feeds)
    assert all(value.dtype == np.float32 for value in after)
    return min(sqnr_db(a, b) for a, b in zip(before, after, strict=True))


def computing(model: Model) -> set[str]:
    return {node.name for node in model.graph if node.op not in ("Const", "Placeholder")}


def test_nothing_chosen_is_the_same_model() -> None:
    model = chain()
    assert to_bfloat16(model, set()) is model
    assert to_bfloat16(model, {"x", "weight"}) is model  # a placeholder and a constant compute nothing


def test_a_whole_model_casts_at_its_border_only() -> None:
    model = chain()
    changed = to_bfloat16(model, computing(model))
    casts = {node.name: (str(node.inputs[0]), node.attrs["DstT"]) for node in changed.graph if node.op == "Cast"}
    assert casts == {
        "x/bfloat16": ("x:0", BFLOAT16),
        "pool/float32": ("pool:0", FLOAT),
        "matmul/float32": ("matmul:0", FLOAT),
    }
    assert [str(ref) for ref in outputs_of(changed)] == ["matmul/float32:0", "pool/float32:0"]
    assert closeness(model, changed) > 45


def test_constants_are_stored_in_half_the_bytes() -> None:
    model = chain()
    changed = to_bfloat16(model, computing(model))
    sizes = [
        sum(node.value.nbytes for node in m.graph if node.op == "Const" and node.value.dtype.kind != "i")
        for m in (model, changed)
    ]
    assert sizes[1] * 2 == sizes[0]
    assert all(node.attrs["dtype"] in ("bfloat16", "int32") for node in changed.graph if node.op == "Const")


def test_a_float_reader_and_a_bfloat16_reader_of_one_tensor() -> None:
    model = chain()
    changed = to_bfloat16(model, {"stem", "pool", "conv_1", "branch"})
    assert changed.graph["conv_1"].inputs[0] == Ref("pool")
    assert changed.graph["conv_2"].inputs[0] == Ref("pool/float32")
    assert changed.graph["concatv2"].inputs[:2] == (Ref("branch/float32"), Ref("biased"))
    assert changed.graph["stem"].inputs == (Ref("conv/bfloat16"),)
    assert ops(changed.graph)["Cast"] == 3
    assert closeness(model, changed) > 45


def test_indices_and_other_ops_are_left_alone() -> None:
    w = Writer()
    x = w.input("x", (2, 4))
    shape = w.node("Shape", w.node("Relu", x), attrs={"out_type": INT32})
    exp = w.node("Exp", w.node("Relu", x, name="again"))  # has no entry in the table
    model = w.model(y=w.node("Reshape", exp, shape, attrs={"Tshape": INT32}))
    changed = to_bfloat16(model, computing(model))
    assert changed.graph["exp"].attrs["T"] == FLOAT
    assert changed.graph["shape"].attrs["T"] == BFLOAT16  # a shape needs no cast
    assert changed.graph["reshape"].inputs == (Ref("exp/bfloat16"), Ref("shape"))
    assert closeness(model, changed) > 45


@pytest.mark.parametrize("op", sorted(DATA_INPUTS))
def test_the_table_agrees_with_tensorflow(op: str) -> None:
    """Each op has a kernel for bfloat16, and exactly its data inputs have the type T."""
    from tensorflow.python.framework import kernels, op_def_registry

    inputs = [arg.type_attr for arg in op_def_registry.get(op).input_arg]
    count = DATA_INPUTS[op]
    data, rest = inputs[:count], inputs[count:]
    assert set(data) == {"T"}, inputs
    assert "T" not in rest, inputs
    bfloat16 = 14  # DT_BFLOAT16
    typed = [
        constraint.allowed_values.list.type
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        if kernel.device_type == "CPU"
        for constraint in kernel.constraint
        if constraint.name == "T"
    ]
    assert not typed or any(bfloat16 in types for types in typed)
