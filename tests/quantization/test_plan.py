"""Which nodes become which 8-bit op, and what is said of the others."""

from __future__ import annotations

import pytest

from eightfold.errors import RecipeError
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Override, Recipe
from lowering import NEW, feeds_for, lowered, reasons_of, rewrites_of, tensors_of

IDLE = "a neighbour of it is in float: 8 bits would only add conversions"
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def plan_of(model: Model, recipe: Recipe = NEW) -> Plan:
    return make_plan(model, tensors_of(model, feeds_for(model)), recipe)


def net() -> Model:
    """stem ─ block(a, b, add) ─ head, with a float Tanh between two 8-bit regions."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    stem = w.node("Relu", w.conv(x, w.normal(3, 3, 4, 4, scale=0.2)), name="stem")
    a = w.node("Relu", w.conv(stem, w.normal(1, 1, 4, 4)), name="a")
    total = w.node("Relu", w.node("AddV2", w.conv(a, w.normal(1, 1, 4, 4)), stem), name="total")
    pooled = w.node("MaxPool", total, attrs=POOL, name="pooled")
    between = w.node("Tanh", w.conv(pooled, w.normal(1, 1, 4, 4)), name="between")
    return w.model(y=w.node("Relu", w.conv(between, w.normal(1, 1, 4, 4)), name="head"))


def test_steps_come_in_topological_order_each_node_in_one() -> None:
    plan = plan_of(net())
    assert list(rewrites_of(plan).items()) == [
        ("stem", "conv_relu"),
        ("a", "conv_relu"),
        ("total", "conv_add_relu"),
        ("pooled", "maxpool"),
        ("conv_3", "conv"),
        ("head", "conv_relu"),
    ]
    consumed = [name for step in plan.steps for name in step.match.nodes]
    assert len(consumed) == len(set(consumed))
    assert set(reasons_of(plan)) == {"between"}


def test_the_tensors_to_calibrate_are_those_held_in_8_bits() -> None:
    plan = plan_of(net())
    names = {"x", "stem", "a", "total", "pooled", "conv_3", "between", "head"}
    assert {ref.node for ref in plan.tensors} == names
    assert {ref.node for ref in plan.producers} == names - {"x", "between"}


def test_regions_are_the_connected_pieces_largest_first() -> None:
    regions = [[step.name for step in region] for region in plan_of(net()).regions]
    assert regions == [["stem", "a", "total", "pooled", "conv_3"], ["head"]]


def test_giving_a_step_back() -> None:
    plan = plan_of(net())
    less = plan.without("total", reason="it is the culprit")
    assert [step.name for step in less.steps] == ["stem", "a", "conv_3", "head"]
    assert reasons_of(less)["total"] == "it is the culprit"
    assert reasons_of(less)["pooled"] == IDLE  # what only carried codes goes as well
    assert len(plan.steps) == 6
    with pytest.raises(RecipeError, match="the plan has no step named 'totl'; did you mean 'total'?"):
        plan.without("totl")
    assert [step.name for step in plan.only("stem", "a").steps] == ["stem", "a"]


def test_without_everything() -> None:
    plan = plan_of(net())
    empty = plan.without(*(step.name for step in plan.steps))
    assert empty.steps == ()
    assert empty.tensors == ()
    assert empty.regions == ()
    assert len(empty.refusals) == 7


@pytest.mark.parametrize(
    ("recipe", "node", "reason"),
    [
        (Recipe(exclude=("^total$",)), "total", "the recipe excludes names with '^total$'"),
        (Recipe(exclude_ops=("AddV2",)), "addv2", "the recipe excludes every AddV2"),
        (
            Recipe(overrides=(Override(match="total", keep="fp32"),)),
            "total",
            "the recipe keeps nodes with match = 'total' in fp32",
        ),
    ],
)
def test_what_the_recipe_excludes_stays_float(recipe: Recipe, node: str, reason: str) -> None:
    plan = plan_of(net(), recipe)
    assert not any(node in step.match.nodes for step in plan.steps)
    assert reasons_of(plan)[node] == reason
    assert rewrites_of(plan)["stem"] == "conv_relu"


def test_a_node_excluded_inside_a_match_breaks_the_match_only() -> None:
    """Without its sum the convolution is still worth 8 bits."""
    plan = plan_of(net(), Recipe(exclude_ops=("AddV2",)))
    assert rewrites_of(plan)["conv_2"] == "conv"


def test_outputs_inside_a_match_stay_tensors_of_their_own() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.conv(x, w.normal(3, 3, 4, 4))
    case = lowered(w.model(linear=y, clipped=w.node("Relu", y)))
    assert rewrites_of(case.plan)["conv"] == "conv"
    assert len(case.actual) == 2
    assert case.actual[0].min() < 0 <= case.actual[1].min()
    assert case.sqnr_db > 35


def test_carriers_alone_are_not_worth_it() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    plan = plan_of(w.model(y=w.node("MaxPool", w.node("Relu", x), attrs=POOL)))
    assert plan.steps == ()
    assert reasons_of(plan)["maxpool"] == IDLE


def test_a_bridge_needs_8_bits_on_both_sides() -> None:
    def model(last: bool) -> Model:
        w = Writer()
        x = w.input("x", (2, 6, 6, 4))
        y = w.node("AvgPool", w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4))), attrs=POOL)
        return w.model(y=w.conv(y, w.normal(1, 1, 4, 4)) if last else w.node("Tanh", y))

    assert "avgpool" in rewrites_of(plan_of(model(last=True)))
    assert reasons_of(plan_of(model(last=False)))["avgpool"] == IDLE


def test_of_two_orientations_the_one_that_may_be_used_is() -> None:
    """The convolution computed last is grouped: the other one takes the sum in."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    plain, grouped = w.conv(x, w.normal(1, 1, 4, 4)), w.conv(x, w.normal(3, 3, 2, 4))
    plan = plan_of(w.model(y=w.conv(w.node("AddV2", plain, grouped), w.normal(1, 1, 4, 4))))
    (step,) = (step for step in plan.steps if step.rewrite.name == "conv_add")
    assert step.match.named["conv"].name == "conv"
    assert reasons_of(plan)["conv_1"].startswith("it is a grouped convolution")


def test_a_pad_that_cannot_fold_does_not_keep_its_convolution_in_float() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)))
    paddings = w.const([[0, 0], [1, 1], [1, 1], [0, 0]])
    y = w.node("Pad", y, paddings, attrs={"Tpaddings": DType("int32")})
    case = lowered(w.model(y=w.conv(y, w.normal(3, 3, 4, 4))))  # SAME, on top of the pad
    assert list(rewrites_of(case.plan).values()) == ["conv_relu", "pad", "conv"]
    assert case.sqnr_db > 30


def test_integers_and_doubles_are_not_touched() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    model = w.model(y=w.conv(x, w.normal(3, 3, 4, 4)))
    tensors = {**tensors_of(model, feeds_for(model))}
    tensors[Ref("conv")] = (DType("float64"), tensors[Ref("conv")][1])
    plan = make_plan(model, tensors, NEW)
    assert reasons_of(plan) == {"conv": "it computes float64; the 8-bit kernels stand for float32"}
