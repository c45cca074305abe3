from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from eightfold.bench import Comparison, Machine, Ratio, Runtime, Settings, Turn, markdown, render
from figures import measurement

MACHINE = Machine("AMD EPYC", True, True, False, True, 2, 25.0, "Linux 6.1", "3.11.7", 0.5)
COMPARISON = Comparison(
    (measurement("fp32"), measurement("int8", 4)),
    Settings(),
    MACHINE,
    "eightfold benchmark",
    "now",
)


def test_ratio_between_any_two_is_paired_by_round() -> None:
    fast, slow = (
        measurement(name, turns=tuple(Turn(((ms, ms),), 32, ms) for ms in rounds))
        for name, rounds in (("fast", (2.0, 6.0, 2.5)), ("slow", (4.0, 12.0, 4.0)))
    )
    both = replace(COMPARISON, measurements=(fast, slow))
    assert both.ratio("fast", "slow") == Ratio(2.0, 1.6, 2.0)
    assert both.ratio("slow", "fast").median == 0.5
    with pytest.raises(KeyError, match="'other' was not measured; fast, slow were"):
        both.ratio("other", "slow")


def test_markdown() -> None:
    lines = markdown(COMPARISON).splitlines()
    assert lines[0].startswith("| model | size MB | peak MB | p50 ms |")
    assert lines[3] == "| int8 | 25.6 | 800 | 25.00 | 27.50 | 31.25 | 5% | 1.9 | 1280 | 4.00x (3.90-4.10) |"


def test_rich_table_fits_80_columns() -> None:
    both = replace(COMPARISON, measurements=(measurement("models/resnet50"), measurement("[int8]", 4)))
    text = shown(both)
    assert "batch 32, 2 threads, 5 rounds in turns" in text
    for said in ("[int8]", "speedup", "4.00x", "(3.90-4.10)", "27.50", "31.25", "1280", "AMD EPYC, 2 cores"):
        assert said in text


def test_settings_that_differ_stand_below_the_table() -> None:
    other = measurement("int8", 4, batch_size=8, instances=2, cores=1, intra=1)
    text = shown(replace(COMPARISON, measurements=(measurement("fp32"), other)))
    assert text.strip().startswith("5 rounds in turns")
    assert "fp32: batch 32, 2 threads" in text
    assert "int8: batch 8, 2 instances of 1 core, 1 thread" in text


def test_rounds_that_do_not_agree_are_pointed_at() -> None:
    one = measurement("fp32")
    unsteady = replace(one, timing=replace(one.timing, spread=0.4))
    said = "A spread above 10%: other programs ran too. Measure again, with more --rounds."
    assert said in " ".join(shown(replace(COMPARISON, measurements=(unsteady,))).split())
    assert "other programs" not in shown(COMPARISON)


def test_batches_in_flight_are_told_in_words() -> None:
    flying = replace(measurement("peer"), runtime=Runtime(8, intra=1, env={"EIGHTFOLD_IN_FLIGHT": "2", "A": "1"}))
    assert "batch 8, 1 thread, A=1, 2 batches in flight, 5 rounds" in shown(replace(COMPARISON, measurements=(flying,)))


def shown(comparison: Comparison) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(comparison))
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text
