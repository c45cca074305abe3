from __future__ import annotations

import numpy as np
import pytest

from eightfold.graph.edit import Edit, const_node
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer

FLOAT = {"T": DType("float32")}


def model() -> Model:
    """y = relu(x) + relu(x)"""
    w = Writer()
    x = w.input("x", (2,))
    y = w.node("Relu", x)
    return w.model(y=w.node("AddV2", y, y), relu=y)


def values(model: Model, key: str = "y") -> list[float]:
    (value,) = evaluate(model.graph, [model.default.outputs[key].ref], {Ref("x"): np.array([-1, 3], np.float32)})
    return [float(v) for v in value]


def test_an_edit_without_changes_gives_the_same_model() -> None:
    before = model()
    assert Edit(before).done() is before


def test_readers_and_outputs_follow_a_redirect() -> None:
    edit = Edit(model())
    edit.redirect(Ref("relu"), edit.add("Neg", "relu", (Ref("x"),), FLOAT))
    after = edit.done()
    assert values(after) == [2, -6]
    assert values(after, "relu") == [1, -3]
    assert "relu" not in after.graph  # nothing reads it any more
    assert after.default.outputs["relu"].ref == Ref("relu_1")


def test_a_node_may_read_what_it_replaces() -> None:
    edit = Edit(model())
    edit.redirect(Ref("relu"), edit.add("Neg", "minus", (Ref("relu"),), FLOAT))
    assert values(edit.done()) == [0, -6]


def test_redirects_are_followed_to_their_end() -> None:
    edit = Edit(model())
    edit.redirect(Ref("relu"), edit.add("Neg", "first", (Ref("x"),), FLOAT))
    edit.redirect(Ref("first"), edit.add("Abs", "second", (Ref("x"),), FLOAT))
    assert edit.resolve(Ref("relu")) == Ref("second")
    assert edit.node(Ref("relu")).op == "Abs"
    assert values(edit.done()) == [2, 6]


def test_a_changed_node_keeps_its_place() -> None:
    edit = Edit(model())
    edit.change(edit.graph["relu"].but(op="Abs"))
    assert values(edit.done()) == [2, 6]
    with pytest.raises(KeyError, match="there is no node 'nothing' to change"):
        edit.change(edit.graph["relu"].but(name="nothing"))


def test_new_names_are_made_unique() -> None:
    edit = Edit(model())
    first = edit.const("relu", np.float32(1))
    second = edit.const("relu", np.float32(2))
    assert (first, second) == (Ref("relu_1"), Ref("relu_2"))
    assert edit.unique("new") == "new"


def test_the_dtype_of_a_constant() -> None:
    assert const_node("c", np.zeros(2, np.int64)).attrs["dtype"] == "int64"
    assert const_node("c", np.zeros(2, np.int8), DType("qint8")).attrs["dtype"] == "qint8"
