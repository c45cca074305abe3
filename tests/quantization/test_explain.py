from __future__ import annotations

import pytest

from eightfold.errors import RecipeError
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.writer import Writer
from eightfold.quantization.dynamic import lower_dynamic
from eightfold.quantization.explain import (
    Explanation,
    explain_plan,
    explain_report,
    step_records,
)
from eightfold.quantization.flow import flow_breaks
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, Refusal, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.report import Report
from eightfold.tf.session import infer

INT32 = DType("int32")


def conv(w: Writer, x: Ref, name: str) -> Ref:
    return w.node("Relu", w.conv(x, w.normal(1, 1, 8, 8, scale=0.3)), name=name)


def planned(model: Model, **recipe: object) -> Plan:
    return make_plan(model, infer(model.graph), Recipe(**recipe))  # type: ignore[arg-type]


def broken_flow() -> Model:
    """a ─ Softplus ─ Exp ─ b ─ c, and c ─ Softplus ─ out."""
    w = Writer()
    x = w.input("x", (2, 8, 8, 8))
    y = w.node("Exp", w.node("Softplus", conv(w, x, "net/a"), name="net/p"), name="net/e")
    y = conv(w, conv(w, y, "net/b"), "net/c")
    return w.model(y=w.node("Softplus", y, name="net/out"))


def test_a_break_names_both_sides_and_what_is_between() -> None:
    none = "stock TensorFlow has no 8-bit kernel for"
    assert flow_breaks(planned(broken_flow())) == (
        f"between net/a and net/b: net/p (Softplus), {none} Softplus; net/e (Exp), {none} Exp",
    )


def test_an_unbroken_flow_has_no_breaks() -> None:
    w = Writer()
    y = conv(w, conv(w, w.input("x", (2, 8, 8, 8)), "a"), "b")
    assert flow_breaks(planned(w.model(y=w.node("Softplus", y)))) == ()


def test_reading_a_shape_breaks_no_flow() -> None:
    w = Writer()
    y = conv(w, w.input("x", (None, 8, 8, 8)), "a")
    shape = w.node("Shape", y, attrs={"out_type": INT32})
    y = conv(w, w.node("Reshape", y, shape, attrs={"Tshape": INT32}), "b")
    assert flow_breaks(planned(w.model(y=y))) == ()


def test_branches_that_join_in_float_are_one_break() -> None:
    w = Writer()
    y = conv(w, w.input("x", (2, 8, 8, 8)), "a")
    left, right = w.node("Exp", y, name="l"), w.node("Softplus", y, name="r")
    y = conv(w, w.node("Maximum", left, right, name="m"), "b")
    breaks = flow_breaks(planned(w.model(y=y)))
    assert len(breaks) == 1
    assert all(name in breaks[0] for name in ("l (Exp)", "r (Softplus)", "m (Maximum)"))


def test_a_matmul_that_gives_float_breaks_the_flow() -> None:
    w = Writer()
    y = w.matmul(w.matmul(w.input("x", (4, 16)), w.normal(16, 16)), w.normal(16, 8))
    assert flow_breaks(planned(w.model(y=y))) == (
        "between matmul and matmul_1: QuantizedMatMulWithBiasAndDequantize gives float",
    )


def test_each_step_has_the_text_of_its_three_graphs() -> None:
    model = broken_flow()
    plan = planned(model)
    ranges = {ref: Range(-1.0, 1.0) for ref in plan.tensors}
    records = step_records(plan, lower_dynamic(model, plan).graph, lower_plan(model, plan, ranges).graph)
    record = next(record for record in records if record.name == "net/b")
    assert record.float_text == ("conv_1 = Conv2D(net/e, float32[1, 1, 8, 8]) padding=SAME\nnet/b = Relu(conv_1)\n")
    assert "QuantizeV2(net/e" in record.dynamic_text
    assert record.dynamic_text.endswith("net/b = Relu(conv_1/real)\n")
    first, last = record.int8_text.splitlines()
    assert first.startswith("net/e/quantize = QuantizeV2(net/e, ")
    assert last.startswith("net/b = _FusedQuantizedConv2D(net/e/quantize, qint8[1, 1, 8, 8], float32[8], ")


def test_a_block_ends_where_its_neighbour_begins() -> None:
    model = broken_flow()
    plan = planned(model)
    ranges = {ref: Range(-1.0, 1.0) for ref in plan.tensors}
    records = step_records(plan, calibrated=lower_plan(model, plan, ranges).graph)
    text = next(record.int8_text for record in records if record.name == "net/c")
    assert [line.partition(" = ")[0] for line in text.splitlines()] == ["net/c"]
    assert next(record.dynamic_text for record in records) == ""


def test_an_explanation_groups_and_counts() -> None:
    explanation = explain_plan(broken_flow(), planned(broken_flow()))
    assert [(kind.rewrite, kind.blocks) for kind in explanation.kinds] == [("conv_relu", 3)]
    assert [(reason.op, reason.nodes) for reason in explanation.reasons] == [
        ("Softplus", ("net/p", "net/out")),
        ("Exp", ("net/e",)),
    ]
    assert (explanation.regions, explanation.mode, explanation.scope) == ((2, 1), "planned", "net/")
    assert explanation.to_dict()["kinds"][0]["blocks"] == 3


def test_a_reason_that_names_its_node_is_grouped_too() -> None:
    refusals = tuple(Refusal(node, "Conv2D", f"{node} is also used elsewhere") for node in ("a", "b"))
    explanation = Explanation("", "planned", (), refusals, (), ())
    assert [(r.reason, r.nodes) for r in explanation.reasons] == [("it is also used elsewhere", ("a", "b"))]


@pytest.mark.parametrize("name", ["net/b", "b", "conv_1"])
def test_a_block_is_found_by_any_of_its_nodes(name: str) -> None:
    explanation = explain_plan(broken_flow(), planned(broken_flow()))
    assert explanation.find(name).name == "net/b"  # type: ignore[union-attr]


def test_a_node_in_float_is_found_with_its_reason() -> None:
    explanation = explain_plan(broken_flow(), planned(broken_flow()))
    found = explanation.find("net/p")
    assert isinstance(found, Refusal)
    assert found.op == "Softplus"


def test_a_node_that_is_not_there_is_an_error_that_names_the_nearest() -> None:
    explanation = explain_plan(broken_flow(), planned(broken_flow()))
    with pytest.raises(RecipeError, match="no computing node 'net/ot'; did you mean 'net/out'?"):
        explanation.find("net/ot")


def test_a_report_is_explained_as_it_was_written() -> None:
    plan = planned(broken_flow())
    report = Report(
        origin="net",
        mode="calibrated",
        recipe={},
        steps=step_records(plan),
        refusals=tuple((r.node, r.op, r.reason) for r in plan.refusals),
        regions=(2, 1),
        breaks=("between a and b",),
        fallbacks=("slow",),
        notes=("a note",),
    )
    explanation = explain_report(Report.from_dict(report.to_dict()))
    assert explanation.blocks == report.steps
    assert explanation.refusals == plan.refusals
    assert (explanation.breaks, explanation.fallbacks, explanation.notes) == (
        ("between a and b",),
        ("slow",),
        ("a note",),
    )
