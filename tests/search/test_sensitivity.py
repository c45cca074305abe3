"""Which steps make the error: the short way gives the same numbers as running every model whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from planted import UNEQUAL, WITH_OUTLIERS, images, plain, planted

import eightfold as ef
from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.quantization.verify import compare_outputs
from eightfold.search.units import units_of
from eightfold.tf.session import Runner
from eightfold.tf.trace import node_times

pytestmark = pytest.mark.int8

STEADY = ef.Recipe(fallback=False, bias_correction=False, observer="minmax")


def branches() -> Model:
    """Sums, which the kernels add into the buffer of another tensor, pools and a concat, and two outputs."""
    w = Writer()
    x = w.input("image", (None, 8, 8, 8))
    x = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 16, scale=0.15)), name="stem")
    inner = w.node("Relu", w.conv(x, w.normal(3, 3, 16, 16, scale=0.1)), name="inner")
    total = w.node("AddV2", w.bias(w.conv(inner, w.normal(3, 3, 16, 16, scale=0.1)), w.normal(16, scale=0.1)), x)
    x = w.node("Relu", total, name="sum")
    left = w.node("Relu", w.conv(x, w.normal(1, 1, 16, 8, scale=0.3)), name="left")
    pool = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}
    right = w.node("MaxPool", w.node("Relu", w.conv(x, w.normal(1, 1, 16, 8, scale=0.3)), name="right"), attrs=pool)
    both = w.node("ConcatV2", left, right, w.const(3), attrs={"N": 2, "Tidx": DType("int32")}, name="both")
    last = w.node("Relu", w.conv(both, w.normal(3, 3, 16, 8, scale=0.1)), name="last")
    return w.model(y=last, early=w.node("Softplus", x))


def whole(model: Model, data: Array) -> list[Array]:
    with Runner.of(model) as run:
        return run([spec.ref for spec in model.default.outputs.values()], {Ref("image"): data})


def ready(model: Model, data: Array) -> tuple[Any, Mapping[Ref, Any]]:
    plan = ef.plan(model, STEADY)
    return plan, ef.calibrate(model, plan, data)


@pytest.mark.parametrize("make", [plain, branches])
def test_the_short_way_gives_the_same_numbers(make: Any) -> None:
    model, data = make(), images(6)
    plan, ranges = ready(model, data)
    found = {entry.name: entry for entry in ef.rank(model, plan, ranges, data, batch_size=4, costs=False)}
    expected = whole(model, data)
    units = units_of(plan)
    assert set(found) == {unit.name for unit in units}
    for unit in units:
        only = ef.lower(model, plan.only(*unit.steps), ranges).model
        without = ef.lower(model, plan.without(unit.name), ranges).model
        for ratio, candidate in ((found[unit.name].only_db, only), (found[unit.name].without_db, without)):
            assert ratio == pytest.approx(compare_outputs(expected, whole(candidate, data))[0], abs=0.02), unit.name


def test_planted_disasters_are_on_top() -> None:
    model, data = planted(), images(32)
    plan, ranges = ready(model, data)
    told: list[tuple[str, int, int | None]] = []
    ranking = ef.rank(model, plan, ranges, data, samples=16, progress=lambda *stage: told.append(stage))
    assert {entry.name for entry in ranking[:2]} == {UNEQUAL, WITH_OUTLIERS}
    assert ranking[1].error > 100 * ranking[2].error
    assert [done for _, done, _ in told] == list(range(13))
    assert {total for _, _, total in told} == {12}
    assert all(np.isfinite(entry.cost_ms) for entry in ranking)
    assert any(entry.cost_ms != 0 for entry in ranking)


def test_a_plan_without_steps_has_no_ranking() -> None:
    model, data = plain(), images(4)
    plan, ranges = ready(model, data)
    assert ef.rank(model, plan.only(), ranges, data) == []


def test_the_time_of_each_node() -> None:
    model = plain()
    times = node_times(model.graph, [Ref("four/relu")], {Ref("image"): images(8)}, runs=3)
    fused = {f"{name}/relu" for name in ("one", "two", "three", "four")}
    assert fused <= set(times)
    assert all(0 < times[name] < 1e3 for name in fused)
    assert not any("image" in name for name in times)
