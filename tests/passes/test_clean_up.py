"""Strip, constant folding, static shapes, sharing: what goes, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest
from unchanged import applied, context, kept, ops

from eightfold.graph.edit import const_node
from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.fold_constants import fold_constants
from eightfold.passes.pipeline import EXPORT, run_passes
from eightfold.passes.share import share_inputs, share_nodes
from eightfold.passes.static_shape import freeze_shapes
from eightfold.passes.strip import strip
from lowering import outputs_of

FLOAT, INT32 = DType("float32"), DType("int32")


# --- strip --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Identity", "CheckNumerics", "StopGradient", "PreventGradient", "Snapshot"])
def test_what_passes_its_input_through_goes(op: str) -> None:
    w = Writer()
    x = w.input("x", (2, 3))
    attrs = {"message": b""} if op in ("CheckNumerics", "PreventGradient") else {}
    y = w.node(op, w.node("Relu", w.node(op, x, attrs=attrs)), attrs=attrs)
    after = applied(strip, w.model(y=y), on_tensorflow=True)
    assert ops(after) == {"Relu": 1}
    assert after.default.outputs["y"].ref == Ref("relu")


def test_each_output_of_an_identity_n_follows_its_input() -> None:
    w = Writer()
    a, b = w.input("a", (2,)), w.input("b", (2,))
    both = w.node("IdentityN", a, w.node("Neg", b), attrs={"T": (FLOAT, FLOAT)})
    y = w.node("Sub", both, Ref(both.node, 1))
    assert ops(applied(strip, w.model(y=y), on_tensorflow=True)) == {"Sub": 1, "Neg": 1}


def test_an_input_with_a_default_becomes_its_default_unless_it_is_an_input() -> None:
    default = const_node("value", np.ones(2, np.float32))
    attrs = {"dtype": FLOAT, "shape": Shape((2,))}
    nodes = [
        default,
        Node("x", "PlaceholderWithDefault", (Ref("value"),), attrs),
        Node("y", "Neg", (Ref("x"),), {"T": FLOAT}),
    ]
    spec = {"y": TensorSpec(Ref("y"), FLOAT, Shape((2,)))}
    free = Model(Graph(nodes), {"f": Signature("f", {}, spec)})
    assert [node.op for node in strip(free, context()).graph] == ["Const", "Neg"]
    bound = free.but(signatures={"f": Signature("f", {"x": TensorSpec(Ref("x"), FLOAT, Shape((2,)))}, spec)})
    assert strip(bound, context()) is bound


def with_control(guard: Node, *, relu: str = "Relu") -> Model:
    w = Writer()
    x = w.input("x", (2,))
    model = w.model(y=w.node(relu, x, name="y"))
    nodes = [node.but(control=(guard.name,)) if node.name == "y" else node for node in model.graph]
    return model.but(graph=Graph([*nodes, guard]))


def test_control_edges_to_what_has_no_effect_go() -> None:
    after = strip(with_control(Node("guard", "NoOp")), context())
    assert after.graph["y"].control == ()
    assert "guard" not in after.graph


def test_control_edges_to_what_has_an_effect_stay() -> None:
    table = {"container": b"", "shared_name": b"t", "key_dtype": INT32, "value_dtype": INT32}
    model = with_control(Node("guard", "HashTableV2", (), table))
    assert kept(strip, model)
    assert model.graph["y"].control == ("guard",)


# --- constants ----------------------------------------------------------------------------------------------------


def test_constant_expressions_become_constants() -> None:
    w = Writer()
    x = w.input("x", (3,))
    scale = w.node("Rsqrt", w.node("AddV2", w.const(w.normal(3) ** 2), w.const(1e-3)))
    after = applied(fold_constants, w.model(y=w.node("Mul", x, scale), z=w.node("Neg", scale)))
    assert ops(after) == {"Mul": 1}
    assert {node.op for node in after.graph} == {"Mul", "Const", "Placeholder"}


def test_random_numbers_are_not_constant() -> None:
    w = Writer()
    x = w.input("x", (3,))
    attrs = {"T": INT32, "dtype": FLOAT, "seed": 1, "seed2": 2}
    noise = w.node("RandomUniform", w.const([3]), attrs=attrs)
    assert kept(fold_constants, w.model(y=w.node("Mul", x, noise)))


def test_text_stays_text() -> None:
    w = Writer()
    joined = w.node("AsString", w.const(7), attrs={"T": INT32})
    after = fold_constants(w.model(y=joined), context())
    (node,) = after.graph
    assert (node.op, str(node.attrs["dtype"]), node.value.item()) == ("Const", "string", b"7")


def test_a_large_fill_is_not_made_a_constant() -> None:
    w = Writer()
    x = w.input("x", (1,))
    large = w.node("Fill", w.const([5000, 5000]), w.const(0.0), attrs={"index_type": INT32})
    assert kept(fold_constants, w.model(y=w.node("AddV2", x, large)))


def test_every_output_of_a_constant_node_is_folded() -> None:
    w = Writer()
    x = w.input("x", (2,))
    split = w.node("Split", w.const(0), w.const(np.arange(4, dtype=np.float32)), attrs={"num_split": 2})
    y = w.node("AddV2", w.node("Mul", x, split), Ref(split.node, 1))
    assert ops(applied(fold_constants, w.model(y=y))) == {"AddV2": 1, "Mul": 1}


# --- shapes -------------------------------------------------------------------------------------------------------


def flattened(batch: int | None) -> Model:
    """Reshape to (shape(x)[0], 6), as Keras and PyTorch exports write it."""
    w = Writer()
    x = w.input("x", (batch, 2, 3))
    shape = w.node("Shape", x, attrs={"out_type": INT32})
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask"), 0)
    bounds = [w.const([value]) for value in (0, 1, 1)]
    first = w.node("StridedSlice", shape, *bounds, attrs={"T": INT32, "Index": INT32, "shrink_axis_mask": 1, **masks})
    target = w.node("Pack", first, w.const(6), attrs={"T": INT32, "N": 2, "axis": 0})
    return w.model(y=w.node("Reshape", x, target, attrs={"Tshape": INT32}))


@pytest.mark.parametrize("batch", [None, 4])
def test_shape_arithmetic_goes(batch: int | None) -> None:
    after = fold_constants(freeze_shapes(flattened(batch), context()), context())
    assert ops(after) == {"Reshape": 1}
    target = after.graph.constant(after.graph["reshape"].inputs[1])
    assert target is not None
    assert target.tolist() == [-1 if batch is None else batch, 6]
    value = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    (actual,) = evaluate(after.graph, outputs_of(after), {Ref("x"): value})
    np.testing.assert_array_equal(actual, value.reshape(4, 6))


def test_two_unknown_dimensions_stay() -> None:
    w = Writer()
    x, target = w.input("x", (None, None)), w.input("target", (2,), "int32")
    assert kept(freeze_shapes, w.model(y=w.node("Reshape", x, target, attrs={"Tshape": INT32})))


# --- sharing ------------------------------------------------------------------------------------------------------


def twins() -> Model:
    """The same function under two names, as Keras exports it."""
    nodes, signatures = [], {}
    weight = np.ones((2, 2), np.float32)
    for name in ("serve", "serving_default"):
        x = Node(f"{name}_x", "Placeholder", (), {"dtype": FLOAT, "shape": Shape((None, 2))})
        w = const_node(f"{name}/w", weight)
        attrs = {"T": FLOAT, "transpose_a": False, "transpose_b": False}
        y = Node(f"{name}/y", "MatMul", (x.ref, w.ref), attrs)
        nodes += [x, w, y]
        specs = [TensorSpec(node.ref, FLOAT, Shape((None, 2))) for node in (x, y)]
        signatures[name] = Signature(name, {"x": specs[0]}, {"y": specs[1]})
    return Model(Graph(nodes), signatures)


def test_signatures_share_inputs_and_what_they_compute() -> None:
    shared = share_inputs(twins(), context())
    assert {ref.node for ref in shared.inputs} == {"serving_default_x"}
    after = share_nodes(shared, context())
    assert ops(after) == {"MatMul": 1}
    assert len(after.graph) == 3
    for signature in after.signatures.values():
        feeds = {signature.inputs["x"].ref: np.eye(2, dtype=np.float32)}
        (value,) = evaluate(after.graph, [signature.outputs["y"].ref], feeds)
        np.testing.assert_array_equal(value, np.ones((2, 2)))


def test_inputs_that_differ_are_not_shared() -> None:
    model = twins()
    other = model.signatures["serve"]
    spec = TensorSpec(other.inputs["x"].ref, FLOAT, Shape((3, 2)))
    assert kept(share_inputs, model.but(signatures={**model.signatures, "serve": other.but(inputs={"x": spec})}))


def test_equal_nodes_merge_and_others_do_not() -> None:
    w = Writer()
    x = w.input("x", (2, 5, 5, 3))
    weight = w.normal(3, 3, 3, 4)
    same = [w.conv(x, weight) for _ in range(2)]
    strided = w.conv(x, weight, strides=2)
    bias = [w.bias(y, np.float32(v) * np.ones(4)) for y, v in zip(same, (1, 1), strict=True)]
    other = w.bias(same[0], np.zeros(4))
    after = applied(share_nodes, w.model(a=bias[0], b=w.node("Relu", bias[1]), c=strided, d=other))
    assert ops(after) == {"Conv2D": 2, "BiasAdd": 2, "Relu": 1}


def test_random_nodes_do_not_merge() -> None:
    w = Writer()
    attrs = {"T": INT32, "dtype": FLOAT, "seed": 0, "seed2": 0}
    noise = [w.node("RandomUniform", w.const([3]), attrs=attrs) for _ in range(2)]
    after = share_nodes(w.model(y=w.node("Sub", *noise)), context())
    assert ops(after)["RandomUniform"] == 2


def test_the_whole_order_settles() -> None:
    """Run on its own result, the order of passes finds nothing more to do."""
    w = Writer()
    x = w.input("x", (None, 8, 8, 3))
    y = w.bias(w.conv(w.node("Identity", x), w.normal(3, 3, 3, 4)), w.normal(4))
    y = w.node("Relu", w.node("AddV2", w.node("Mul", y, w.const(w.normal(4))), w.const(w.normal(4))))
    once = applied(lambda model, services: run_passes(model, services, EXPORT), w.model(y=y))
    assert ops(once) == {"Conv2D": 1, "BiasAdd": 1, "Relu": 1}
    twice = run_passes(once, context())
    assert ops(twice) == ops(once)
