"""The fastest model that holds a metric: what is found, what is written down, and how a search may end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import ONLY_INT8, UNEQUAL, WITH_OUTLIERS, Closeness, images, plain, planted, shared

import eightfold as ef
from eightfold.errors import DataError, RecipeError
from eightfold.quantization.report import Report
from eightfold.search import accuracy

pytestmark = pytest.mark.int8

DATA = images(40)


@pytest.fixture(autouse=True)
def one_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """All choices for the whole model would take long; one shows how they are tried."""
    monkeypatch.setattr(accuracy, "variants", lambda recipe, model: iter([{"observer": "mse"}]))


def search(net: Path, judge: Closeness, max_drop: float = 0.05, **options: Any) -> Any:
    return ef.quantize(net, DATA, recipe=ONLY_INT8, evaluate=judge, max_drop=max_drop, **options)


def test_a_planted_disaster_is_found_and_only_it_is_given_back(planted_net: Path, tmp_path: Path) -> None:
    judge = Closeness(planted())
    result = search(planted_net, judge, trials=tmp_path / "log.jsonl")
    found = result.report.search
    assert found.reached
    assert found.ended == "done"
    assert {entry.name for entry in found.ranking[:2]} == {UNEQUAL, WITH_OUTLIERS}
    best = found.best
    assert {*best.fp32, *best.bf16} == {UNEQUAL, WITH_OUTLIERS}
    assert best.drop <= 0.05
    assert found.trials[0].drop > 0.5  # everything in 8 bits
    assert {step.name for step in result.plan.steps} == {f"{name}/relu" for name in ("one", "two", "three", "four")}
    assert any("given back for the accuracy that is to be held" in reason for _, _, reason in result.report.refusals)
    value = Closeness(planted())(lambda inputs: result(**inputs))
    assert value == pytest.approx(best.value, abs=1e-4)

    again = Closeness(planted())
    resumed = search(planted_net, again, trials=tmp_path / "log.jsonl", resume=True)
    assert again.calls == 0
    assert judge.calls >= 5
    assert resumed.report.search.best == best
    assert resumed.report.search.ranking == found.ranking

    kept = resumed.report.recipe["overrides"]
    assert {override["keep"] for override in kept} <= {"fp32", "bf16"}
    saved = ef.read_report(resumed.save(tmp_path / "net"))
    assert saved.search == resumed.report.search
    same = ef.quantize(planted_net, DATA, recipe=resumed.plan.recipe)
    x = images(4, seed=3)
    np.testing.assert_array_equal(same(image=x)["y"], resumed(image=x)["y"])


def test_layers_that_share_a_bad_tensor_are_both_given_back(tmp_path: Path) -> None:
    """Whoever writes it and whoever reads it holds it in 8 bits: one of them alone in float changes nothing."""
    from eightfold.tf.savedmodel import write_saved_model

    write_saved_model(shared(), tmp_path / "net")
    found = search(tmp_path / "net", Closeness(shared())).report.search
    assert found.reached
    assert {entry.name for entry in found.ranking[:2]} == {"writer/relu", "reader/relu"}
    assert {*found.best.fp32, *found.best.bf16} == {"writer/relu", "reader/relu"}


def test_the_first_that_holds_ends_the_search(plain_net: Path) -> None:
    judge = Closeness(plain())
    result = search(plain_net, judge)
    assert judge.calls == 2  # float, and everything in 8 bits
    assert result.report.search.reached
    assert result.report.search.best.fp32 == ()
    assert len(result.report.steps) == 4
    assert result.report.fidelity is not None
    assert len(result.report.speed) == 1


def test_a_recipe_with_a_region_is_written_into_the_report(plain_net: Path) -> None:
    names = [step.name for step in ef.plan(ef.export(plain_net)).steps]
    override = ef.Override(region=(names[0], names[1]), observer="minmax")
    recipe = ef.Recipe(fallback=False, overrides=(override,))
    report = ef.quantize(plain_net, DATA, recipe=recipe, evaluate=Closeness(plain()), max_drop=0.05).report
    assert json.loads(report.to_json())["recipe"]["overrides"][0]["region"] == names[:2]


def test_a_target_out_of_reach_ends_with_the_most_accurate(plain_net: Path) -> None:
    result = search(plain_net, Closeness(plain()), max_drop=0.0)
    found = result.report.search
    assert (found.reached, found.ended) == (False, "done")
    assert found.best.value == max(trial.value for trial in found.trials)
    assert max(len(trial.fp32) for trial in found.trials) == 3  # never all four: that would be the float model
    assert result.report.steps


def test_ctrl_c_ends_with_the_best_so_far(planted_net: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = search(planted_net, Closeness(planted(), stop_at=5), trials=log)
    found = result.report.search
    assert (found.reached, found.ended) == (False, "interrupted")
    assert len(found.trials) == 3
    assert found.best.value == max(trial.value for trial in found.trials)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["kind"] for entry in entries] == ["search", "trial", "trial", "trial", "ranking", "trial"]
    assert entries[-1]["fp32"] == list(found.trials[-1].fp32)

    rest = Closeness(planted())
    assert search(planted_net, rest, trials=log, resume=True).report.search.reached
    assert 0 < rest.calls < 8


def test_ctrl_c_before_anything_was_measured(plain_net: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(plain_net, Closeness(plain(), stop_at=2))


def test_a_spent_budget_ends_with_the_best_so_far(planted_net: Path) -> None:
    found = search(planted_net, Closeness(planted()), budget=1e-3).report.search
    assert (found.reached, found.ended) == (False, "budget")
    assert len(found.trials) == 1  # one candidate is measured in any case


def test_the_log_of_another_model_is_refused(plain_net: Path, planted_net: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    search(plain_net, Closeness(plain()), trials=log)
    judge = Closeness(planted())
    with pytest.raises(DataError, match="log.jsonl is the log of another model .*/net.; search without --resume"):
        search(planted_net, judge, trials=log, resume=True)
    assert judge.calls == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_drop": -0.1}, "expected 0 or more, received -0.1"),
        ({"budget": "soon"}, "such as 30m, 1.5h or 90s, not 'soon'"),
        ({"budget": 0}, "not 0"),
        ({"resume": True}, "resume goes on with a file of trials, and none is named"),
        ({"dynamic": True}, "not dynamic=True"),
        ({"evaluate": None, "max_drop": 0.1}, "max_drop is for a search, which needs evaluate"),
    ],
)
def test_options_that_make_no_sense(plain_net: Path, options: dict[str, Any], match: str) -> None:
    given = {"evaluate": lambda run: 1.0, **options}
    with pytest.raises(RecipeError, match=match):
        ef.quantize(plain_net, DATA, **given)


@pytest.mark.parametrize(("value", "match"), [("good", "gave str"), (float("nan"), "no finite number for the float")])
def test_a_judge_that_gives_no_number(plain_net: Path, value: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        ef.quantize(plain_net, DATA, evaluate=lambda run: value)


def test_reports_without_a_search_can_still_be_read() -> None:
    values = Report("net", "calibrated", {}, (), (), ()).to_dict()
    del values["search"]
    assert Report.from_dict(values).search is None
