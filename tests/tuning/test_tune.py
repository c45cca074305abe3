"""`eightfold.tune` with a stand-in for TensorFlow: what it asks for, finds, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eightfold.bench.budget import BudgetSpent
from eightfold.errors import DataError, EightfoldError, ModelError, OutputError, PlatformError, RecipeError
from eightfold.running.file import read
from eightfold.tuning import request
from eightfold.tuning import tune as module
from eightfold.tuning.request import versions
from eightfold.tuning.trials import Logged
from eightfold.tuning.tune import tune

Make = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("stand_in")


def test_it_finds_the_best_and_keeps_it_with_the_model(model: Make) -> None:
    net = model(ms={"intra 1": 2.0, "inter 1": -1.0})
    result = tune(net, mode="latency")
    assert (result.settings.intra, result.settings.inter) == (1, 1)
    assert result.best.sample is not None
    assert result.best.sample.p50_ms == pytest.approx(1.0)
    assert result.default is not None
    assert result.best.ratio is not None
    assert result.best.ratio.median == pytest.approx(5.0)  # TensorFlow as it comes takes 5 ms
    assert result.file == net / "assets.extra/runtime.json"
    kept = read(net).modes["latency"]
    assert kept.settings == result.settings
    assert kept.measured.p50_ms == pytest.approx(1.0)
    assert kept.versions == {"stand-in": "1.0"}
    assert kept.command == f"eightfold tune {net} --mode latency --budget 10m"
    assert json.loads(json.dumps(result.to_json()))["best"]["over_default"]["median"] == pytest.approx(5.0)


def test_the_other_mode_stays(model: Make) -> None:
    net = model()
    tune(net, mode="latency")
    tune(net, mode="throughput", batch_sizes=[1, 4])
    assert set(read(net).modes) == {"latency", "throughput"}
    assert read(net).modes["throughput"].settings.batch_size == 4  # 2 ms for one, 5 for four


def test_the_8_bit_model_is_named_from_the_other(model: Make) -> None:
    net, fast = model(), model("net-int8", ms={"intra 1": 0.5})
    result = tune(net, int8=fast)
    assert result.best.variant == "int8"
    assert read(net).modes["latency"].model == "../net-int8"
    alone = tune(net, int8=fast, precision=["fp32"])
    assert {trial.variant for trial in alone.trials} == {"fp32"}
    assert read(net).modes["latency"].model is None


def test_an_8_bit_model_alone_is_called_one(model: Make) -> None:
    net = model(ops="_FusedQuantizedConv2D")
    result = tune(net)
    assert {trial.variant for trial in result.trials} == {"int8"}
    assert read(net).modes["latency"].model is None
    assert tune(net, precision=["int8"]).settings == result.settings
    with pytest.raises(RecipeError, match="needs a float model, and .*net is in 8 bits"):
        tune(net, precision=["fp32"])


def test_the_settings_go_where_they_are_wanted(model: Make, tmp_path: Path) -> None:
    net = model()
    result = tune(net, output=tmp_path / "here.json")
    assert read(tmp_path / "here.json").modes["latency"].settings == result.settings
    assert not (net / "assets.extra").exists()
    assert result.log == tmp_path / "here.latency.jsonl"


def test_a_search_goes_on_from_its_log(model: Make, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off in the middle, it measures only what is missing and ends with the same."""
    net, calls = model(ms={"intra 1": 2.0, "inter 1": -1.0}), iter(range(1000))
    whole = tune(net, output=net / "whole.json")

    def stop(what: str, turns: int, total: int | None) -> None:
        if next(calls) == 10:
            raise KeyboardInterrupt

    first = tune(net, progress=stop)
    assert first.ended == "interrupted"
    assert read(net).modes["latency"].settings == first.settings
    log = net.with_name("net.latency.jsonl")
    written = log.read_text().splitlines()
    assert len(written) == 1 + 11
    log.write_text("\n".join([*written, '{"kind": "turn", "rou']))  # killed while it wrote
    again = tune(net, resume=True)
    assert (again.settings, again.ended, len(again.trials)) == (whole.settings, whole.ended, len(whole.trials))
    assert log.read_text().splitlines()[: len(written)] == written
    before = stand_in.read_text()
    from_the_log = tune(net, resume=True)
    assert from_the_log.settings == whole.settings
    assert from_the_log.versions == versions()
    assert stand_in.read_text() == before  # nothing was started


def test_a_log_of_another_search_is_refused(model: Make) -> None:
    net = model()
    tune(net)
    (net / "saved_model.pb").write_text(json.dumps({"ms": {"intra 1": 7.0}}))
    with pytest.raises(DataError, match="is the log of another model"):
        tune(net, resume=True)


def test_a_log_of_another_tensorflow_is_refused(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    tune(net)
    monkeypatch.setattr(request, "version", lambda name: "3.0")
    with pytest.raises(DataError, match="is the log of another model"):
        tune(net, resume=True)


def test_damaged_settings_are_refused_at_once(model: Make, stand_in: Path) -> None:
    net = model()
    (net / "assets.extra").mkdir()
    (net / "assets.extra/runtime.json").write_text("{")
    with pytest.raises(ModelError, match=r"runtime\.json is damaged"):
        tune(net)
    assert not stand_in.exists()


def test_a_damaged_log_is_refused(model: Make) -> None:
    net = model()
    tune(net)
    log = net.with_name("net.latency.jsonl")
    log.write_text(log.read_text().replace('"round"', '"rnd"'))
    with pytest.raises(DataError, match="is no log of a search, or is damaged"):
        tune(net, resume=True)


def test_a_spent_budget_ends_with_the_best_so_far(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[Any] = []

    class Counting(Logged):
        def __call__(self, candidates: Any) -> Any:
            for pair in super().__call__(candidates):
                turns.append(pair)
                yield pair
                if len(turns) == 5:
                    raise BudgetSpent

    monkeypatch.setattr(module, "Logged", Counting)
    result = tune(model(), mode="throughput")
    assert result.ended == "budget"
    assert result.default is None
    assert result.best.sample is not None


def test_the_shortest_budget_compares_two(model: Make) -> None:
    net = model()
    result = tune(net, budget="0.001s")
    assert (result.ended, len(result.trials)) == ("budget", 2)
    assert result.command == f"eightfold tune {net} --mode latency --budget 0.001s"


def test_trying_all_finds_the_same(model: Make) -> None:
    net = model(ms={"intra 1": 2.0, "inter 1": -1.0})
    everything = tune(net, exhaustive=True)
    assert everything.settings.inter == 1
    assert len(everything.trials) > len(tune(net).trials)


def test_where_nothing_runs_the_reason_is_said(model: Make) -> None:
    with pytest.raises(ModelError, match=r"no settings were found for .*net: .*takes batches of 1"):
        tune(model(refuse=[1]))


def test_ctrl_c_before_the_first_turn_leaves_nothing(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Logged):
        def __call__(self, candidates: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "Logged", Impatient)
    net = model()
    with pytest.raises(KeyboardInterrupt):
        tune(net)
    assert sorted(path.name for path in net.iterdir()) == ["saved_model.pb"]


def test_a_place_that_cannot_be_written_to_is_refused_at_once(model: Make, stand_in: Path) -> None:
    net = model()
    with pytest.raises(OutputError, match="is not a folder that may be written to"):
        tune(net, output=net / "saved_model.pb" / "settings.json")
    assert not stand_in.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"mode": "speed"}, RecipeError, "the mode is latency or throughput, not 'speed'"),
        ({"precision": ["fp16"]}, RecipeError, "unknown precision 'fp16'; expected some of fp32, bf16, int8"),
        ({"precision": ["int8"]}, RecipeError, "give it with --int8"),
        ({"batch_sizes": [0], "mode": "throughput"}, RecipeError, "a batch size is 1 or more, not 0"),
        ({"batch_sizes": [1, 8]}, RecipeError, "the latency of one batch size"),
        ({"max_latency_ms": 5}, RecipeError, "is for --mode throughput"),
        ({"max_latency_ms": -1, "mode": "throughput"}, RecipeError, "more than 0; received -1"),
        ({"budget": "soon"}, RecipeError, "a budget is a length of time"),
        ({"output": "settings.toml"}, OutputError, "are written to a .json file"),
        ({"int8": "nowhere"}, ModelError, "there is no model at nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    model: Make, stand_in: Path, arguments: dict[str, Any], error: type[EightfoldError], said: str
) -> None:
    with pytest.raises(error, match=said):
        tune(model(), **arguments)
    assert not stand_in.exists()


def test_bf16_needs_a_cpu_that_has_it(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "has_bfloat16", lambda: False)
    with pytest.raises(PlatformError, match="needs a CPU that has bfloat16"):
        tune(model(), precision=["bf16"])
    monkeypatch.setattr(request, "has_bfloat16", lambda: True)
    net = model("other")
    result = tune(net, precision=["fp32", "bf16"])
    assert {trial.settings.precision for trial in result.trials} == {"as is", "bf16"}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_text("")
    with pytest.raises(ModelError, match="save a Keras model as one with model.export"):
        tune(tmp_path / "net.keras")
