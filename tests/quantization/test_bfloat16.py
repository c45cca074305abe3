"""Steps given back in bfloat16: planned, written, and run by TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import eightfold as ef
from eightfold.errors import PlatformError, RecipeError
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.quantization.dynamic import lower_dynamic
from eightfold.quantization.recipe import Override
from eightfold.quantization.report import read_report
from eightfold.system import instructions
from eightfold.tf.session import Runner
from lowering import NEW, Lowered, feeds_for, lowered, outputs_of, reasons_of

POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"SAME", "data_format": b"NHWC"}
NO_BFLOAT16 = frozenset({"avx2", "avx512bw", "avx512_vnni"})
WITH_BFLOAT16 = NO_BFLOAT16 | {"avx512_bf16"}


@pytest.fixture(autouse=True)
def a_cpu_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels run anywhere; what the plan asks for must not depend on where the tests run."""
    monkeypatch.setattr(instructions, "cpu_flags", lambda: WITH_BFLOAT16)


def net() -> Model:
    """first ─ second ─ pool ─ third ─ sum(with pool) ─ last: all in 8 bits."""
    w = Writer()
    x = w.input("x", (None, 8, 8, 8))
    first = w.node("Relu", w.bias(w.conv(x, w.normal(3, 3, 8, 16, scale=0.2)), w.normal(16)), name="first")
    second = w.node("Relu6", w.conv(first, w.normal(3, 3, 16, 1, scale=0.4), depthwise=True), name="second")
    pool = w.node("MaxPool", second, attrs=POOL, name="pool")
    third = w.node("Relu", w.bias(w.conv(pool, w.normal(1, 1, 16, 16, scale=0.2)), w.normal(16)), name="third")
    added = w.node("AddV2", w.conv(third, w.normal(3, 3, 16, 16, scale=0.1)), pool)
    return w.model(y=w.conv(w.node("Relu", added, name="sum"), w.normal(1, 1, 16, 4, scale=0.2)))


def case(*names: str) -> Lowered:
    known = lowered(net())
    return replace(known, plan=known.plan.in_bfloat16(*names))


def on_tensorflow(model: Model, seed: int = 0) -> np.ndarray:
    with Runner.of(model) as run:
        (value,) = run(outputs_of(model), feeds_for(model, seed))
    return value


def ops_of(model: Model) -> dict[str, str]:
    return {node.name: node.op for node in model.graph if node.op != "Const"}


# --- the plan -----------------------------------------------------------------------------------------------------


def test_a_step_moves_and_says_so() -> None:
    plan = lowered(net()).plan.in_bfloat16("third", reason="8 bits cost 3 dB there")
    assert [step.name for step in plan.bfloat16_steps] == ["third"]
    assert plan.bfloat16 == {"third", "conv_2", "biased_1"}
    assert {step.name for step in plan.steps} == {"first", "second", "pool", "sum", "conv_4"}
    assert reasons_of(plan)["third"] == "it is computed in bfloat16: 8 bits cost 3 dB there"


def test_a_pool_between_two_goes_with_them() -> None:
    plan = lowered(net()).plan.in_bfloat16("second", "third", "sum")
    assert [step.name for step in plan.bfloat16_steps] == ["second", "pool", "third", "sum"]
    assert reasons_of(plan)["pool"] == "it is computed in bfloat16: its neighbours are"


def test_what_is_in_bfloat16_can_go_back_to_float() -> None:
    plan = lowered(net()).plan.in_bfloat16("second", "third").without("second", reason="still too far off")
    assert [step.name for step in plan.bfloat16_steps] == ["third"]
    reasons = reasons_of(plan)
    assert reasons["second"] == "still too far off"
    assert reasons["pool"].startswith("a neighbour of it is in float")
    assert len(reasons) == len(plan.refusals), "a node has two reasons"


def test_no_ranges_are_needed_for_it() -> None:
    plan = lowered(net()).plan.in_bfloat16("second", "third")
    assert {str(ref) for ref in plan.tensors} == {"x:0", "first:0", "pool:0", "third:0", "sum:0", "conv_4:0"}


@pytest.mark.parametrize("names", [("fourth",), ("third", "third/x")])
def test_an_unknown_step(names: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="the plan has no step named"):
        lowered(net()).plan.in_bfloat16(*names)


def test_the_recipe_asks_for_it() -> None:
    recipe = replace(NEW, overrides=(Override(match="^(second|third|pool)$", keep="bf16"),))
    plan = lowered(net(), recipe).plan
    assert [step.name for step in plan.bfloat16_steps] == ["second", "pool", "third"]
    assert "the recipe keeps nodes with match = '^(second|third|pool)$' in bf16" in reasons_of(plan)["third"]


def test_the_recipe_of_a_plan_gives_the_same_plan() -> None:
    plan = lowered(net()).plan.in_bfloat16("second", "third", "sum").without("third")
    again = lowered(net(), plan.settled_recipe).plan
    assert [step.name for step in again.steps] == [step.name for step in plan.steps]
    assert again.bfloat16 == plan.bfloat16


# --- the graph ----------------------------------------------------------------------------------------------------


def test_int8_bfloat16_int8_float_in_numpy() -> None:
    mixed = case("second", "third")
    ops = ops_of(mixed.int8)
    assert ops["first"] == "_FusedQuantizedConv2D"
    assert ops["first/dequantize"] == "Dequantize"
    assert ops["first/dequantize/bfloat16"] == "Cast"
    assert ops["second"] == "Relu6"
    assert ops["pool"] == "MaxPool"
    assert ops["third/float32"] == "Cast"
    assert ops["third/quantize"] == "QuantizeV2"
    assert list(ops.values()).count("Cast") == 3  # into the pair, out of it, and the pool for the summand
    assert mixed.sqnr_db > 35


@pytest.mark.vnni
def test_int8_bfloat16_int8_float_on_tensorflow() -> None:
    mixed = case("second", "third")
    (expected,) = mixed.actual
    actual = on_tensorflow(mixed.int8)
    assert actual.dtype == np.float32
    assert sqnr_db(expected, actual) > 40
    assert sqnr_db(mixed.expected[0], actual) > 35


def test_all_in_bfloat16_is_close_to_float() -> None:
    everything = case(*(step.name for step in lowered(net()).plan.steps if step.rewrite.role == "compute"))
    assert not everything.plan.steps
    assert list(ops_of(everything.int8).values()).count("Cast") == 2  # of the input and of the output
    assert sqnr_db(everything.expected[0], on_tensorflow(everything.int8)) > 40


@pytest.mark.int8
def test_without_ranges() -> None:
    mixed = case("second", "third")
    dynamic = lower_dynamic(mixed.model, mixed.plan)
    ops = ops_of(dynamic)
    casts = {name for name, op in ops.items() if op == "Cast" and name.endswith(("/bfloat16", "/float32"))}
    assert casts == {"first/bfloat16", "pool/float32", "third/float32"}
    assert sqnr_db(mixed.expected[0], on_tensorflow(dynamic)) > 35


@pytest.mark.vnni
def test_a_matrix_product() -> None:
    w = Writer()
    x = w.input("x", (None, 64))
    hidden = w.node("Relu", w.bias(w.matmul(x, w.normal(64, 32, scale=0.2)), w.normal(32)), name="hidden")
    known = lowered(w.model(y=w.bias(w.matmul(hidden, w.normal(32, 8, scale=0.2)), w.normal(8))))
    mixed = replace(known, plan=known.plan.in_bfloat16("biased_1"))
    assert sqnr_db(mixed.expected[0], on_tensorflow(mixed.int8)) > 35


# --- saved, and on other CPUs -------------------------------------------------------------------------------------

ALONE = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(y,) = model(x=tf.constant(np.load(sys.argv[2]))).values()
assert not any(name.startswith("eightfold") for name in sys.modules)
np.save(sys.argv[3], y.numpy())
"""


@pytest.mark.int8
def test_saved_it_runs_without_eightfold(tmp_path: Path) -> None:
    model = net()
    plan = ef.plan(model).in_bfloat16("second", "third", reason="on trial")
    x = feeds_for(model, seed=3)[Ref("x")]
    result = ef.lower(model, plan, ef.calibrate(model, plan, x))
    result.save(tmp_path / "mixed")
    np.save(tmp_path / "x.npy", x)
    arguments = [str(tmp_path / name) for name in ("mixed", "x.npy", "y.npy")]
    finished = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert sqnr_db(result(x=x)["y"], np.load(tmp_path / "y.npy")) > 60
    report = read_report(tmp_path / "mixed")
    assert report.bfloat16 == ("second", "pool", "third")
    assert ("third", "Relu", "it is computed in bfloat16: on trial") in report.refusals
    assert any("3 ops are computed in bfloat16" in note for note in report.notes)
    assert any("(Relu6), it is computed in bfloat16: on trial" in sentence for sentence in report.breaks)


def test_a_cpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "cpu_flags", lambda: NO_BFLOAT16)
    mixed = case("second")
    with pytest.raises(PlatformError, match=r"this CPU \(AVX-512 VNNI\) has no bfloat16: expected amx_bf16 or avx512"):
        ef.lower(mixed.model, mixed.plan, mixed.ranges)
