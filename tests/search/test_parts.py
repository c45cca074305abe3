"""The parts of a search that need no TensorFlow session: budgets, the Pareto front, the log, units and digests."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import plain

from eightfold.bench.budget import Budget, BudgetSpent, seconds_of
from eightfold.errors import DataError, RecipeError
from eightfold.graph.ir import DType
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.search_record import SearchRecord, Sensitivity, Trial
from eightfold.search.accuracy import by_error_per_cost
from eightfold.search.digest import Digests
from eightfold.search.pareto import best_of, frontier, holds
from eightfold.search.trials import TrialLog
from eightfold.search.units import units_of
from eightfold.search.variants import variants
from lowering import lowered

TRIAL = Trial("k", {"observer": "kl"}, ("a",), (), 0.9, 0.01, 30.0, 2.0, 1.5)
ENTRY = Sensitivity("a", "_FusedQuantizedConv2D", 20.0, 30.0, 0.1, 1.0)
ABOUT = {"model": "m1", "origin": "net/"}

trials = st.builds(
    lambda value, speedup: replace(TRIAL, value=value, drop=1 - value, speedup=speedup),
    st.floats(0, 1),
    st.floats(0.5, 4),
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1.5h", 5400), ("90s", 90), ("90", 90), (" 2 min ", 120), (7.5, 7.5)]
)
def test_budgets(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 parsecs", "0s", "1h30m", 0.0, -1.0, float("nan")])
def test_budgets_that_make_no_sense(text: str | float) -> None:
    with pytest.raises(RecipeError, match="a budget is a length of time such as 30m, 1.5h or 90s"):
        seconds_of(text)


def test_a_budget_runs_out() -> None:
    Budget().check()
    Budget(60).check()
    with pytest.raises(BudgetSpent):
        Budget(0.0).check()


@given(st.lists(trials, min_size=1, max_size=12))
def test_nothing_beats_what_is_on_the_front(found: list[Trial]) -> None:
    front = frontier(found)
    assert front
    for trial in found:
        assert any(other.value >= trial.value and other.speedup >= trial.speedup for other in front)
    for one, other in itertools.pairwise(front):
        assert one.speedup > other.speedup
        assert one.value < other.value


@given(st.lists(trials, min_size=1, max_size=12), st.floats(0, 1))
def test_the_best_is_the_fastest_that_holds_or_the_most_accurate(found: list[Trial], max_drop: float) -> None:
    best = best_of(found, max_drop)
    assert best is not None
    holding = [trial for trial in found if holds(trial, max_drop)]
    if holding:
        assert best.speedup == max(trial.speedup for trial in holding)
        assert holds(best, max_drop)
    else:
        assert best.value == max(trial.value for trial in found)


def test_the_best_of_nothing() -> None:
    assert best_of([], 0.1) is None


def test_steps_that_cost_nothing_do_not_come_before_those_that_do_harm() -> None:
    free, cheap, dear = (replace(ENTRY, name=name) for name in ("free", "cheap", "dear"))
    ranking = [
        replace(dear, error=0.5, cost_ms=4.0),
        replace(cheap, error=0.4, cost_ms=1.0),
        replace(free, error=1e-4, cost_ms=-0.3),
    ]
    assert [entry.name for entry in by_error_per_cost(ranking)] == ["cheap", "dear", "free"]


def test_a_log_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "net.trials.jsonl"
    log = TrialLog(file, ABOUT)
    log.add(TRIAL)
    log.add(replace(TRIAL, key="bad", value=-np.inf, drop=np.inf))
    log.add_ranking("r", [ENTRY])
    text = file.read_text()
    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["search", "trial", "trial", "ranking"]
    assert "Infinity" not in text
    file.write_text(text + '{"kind": "trial", "key": "cut o')

    again = TrialLog(file, ABOUT, resume=True)
    assert again.trial("k") == TRIAL
    assert again.trial("bad") == replace(TRIAL, key="bad", value=-np.inf, drop=np.inf)
    assert again.trial("other") is None
    assert again.ranking("r") == (ENTRY,)
    again.add(replace(TRIAL, key="next"))
    assert TrialLog(file, ABOUT, resume=True).trial("next") is not None
    anew = TrialLog(file, ABOUT)
    assert anew.trial("k") is None
    assert len(file.read_text().splitlines()) == 5  # what was there stays until there is something new
    anew.add(TRIAL)
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize("text", ["no json\n", '{"kind": "search"}\n', '{"format": 1, "model": "m1"}\n{}\n', "[]\n"])
def test_a_damaged_log_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match="log.jsonl is no log of a search, or is damaged"):
        TrialLog(file, ABOUT, resume=True)


@pytest.mark.parametrize("text", ["", '{"kind": "sea'])
def test_a_log_that_was_killed_at_its_first_line_begins_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(text)
    TrialLog(file, ABOUT, resume=True).add(TRIAL)
    assert TrialLog(file, ABOUT, resume=True).trial("k") == TRIAL


def test_logs_of_others_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    TrialLog(file, ABOUT).add(TRIAL)
    with pytest.raises(DataError, match=r"is the log of another model \(net/\); search without --resume"):
        TrialLog(file, {"model": "m2"}, resume=True)
    file.write_text('{"kind": "search", "format": 9}\n')
    with pytest.raises(DataError, match="has format 9, expected 1"):
        TrialLog(file, ABOUT, resume=True)


def test_the_record_survives_json() -> None:
    record = SearchRecord("top1", 0.91, 0.005, True, "done", "k", (TRIAL,), (ENTRY,))
    assert SearchRecord.from_dict(json.loads(json.dumps(asdict(record)))) == record
    assert record.best == TRIAL


def concat() -> Model:
    w = Writer()
    x = w.input("x", (2, 6, 6, 8))
    y = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)), name="left")
    z = w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8, scale=0.2)), name="right")
    both = w.node("ConcatV2", y, z, w.const(3), attrs={"N": 2, "Tidx": DType("int32")}, name="both")
    return w.model(y=w.node("Relu", w.conv(both, w.normal(1, 1, 16, 8, scale=0.3)), name="last"))


def test_a_unit_is_what_computes_and_what_carries_it_on() -> None:
    plan = lowered(concat()).plan
    units = {unit.name: unit.steps for unit in units_of(plan)}
    assert units == {"left": ("left", "both"), "right": ("right", "both"), "last": ("last",)}
    alone = plan.only(*units["left"])
    assert [step.name for step in alone.steps] == ["left"]  # a concat of one 8-bit part would only add conversions


def test_digests_follow_what_is_computed_not_what_it_is_called() -> None:
    digests, model = Digests(), plain()
    renamed = model.but(graph=model.graph.mapped(lambda node: node))
    assert digests.of_model(model) == digests.of_model(renamed) == Digests().of_model(plain())
    weight = next(node for node in model.graph if node.op == "Const")
    changed = model.graph.mapped(
        lambda node: node.with_attrs(value=node.value + 1) if node.name == weight.name else node
    )
    assert digests.of_model(model.but(graph=changed)) != digests.of_model(model)
    before, after = digests.of_nodes(model.graph), digests.of_nodes(changed)
    same = {name for name in before if before[name] == after[name]}
    assert "image" in same
    assert "one/relu" not in same  # and nothing after it
    assert "four/relu" not in same


def test_variants_are_those_that_change_something() -> None:
    tried = list(variants(Recipe(observer="mse", rounding="learned"), plain()))
    assert {"observer": "mse"} not in tried
    assert {"equalize": True} in tried
    assert not any("smooth" in change or "rounding" in change for change in tried)
