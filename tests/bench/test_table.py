from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from eightfold.bench import Comparison, Machine, Measurement, Ratio, Settings, Timing, markdown, render

MACHINE = Machine("AMD EPYC", True, True, False, True, 2, 25.0, "Linux 6.1", "3.11.7", 0.5)


def measurement(name: str, ratio: float) -> Measurement:
    took = Timing(100 / ratio, 110 / ratio, 125 / ratio, 99 / ratio, 0.05, 15, 5)
    bounds = Ratio(ratio, ratio - 0.1, ratio + 0.1)
    return Measurement(name, name, 25.6, 800.4, took, 320 * ratio, bounds, {"tensorflow": "2.21.0"}, ())


COMPARISON = Comparison(
    (measurement("fp32", 1), measurement("int8", 4)),
    Settings(32, intra=2),
    MACHINE,
    "eightfold benchmark",
    "now",
)


def test_ratio_between_any_two_is_paired_by_round() -> None:
    fast, slow = (
        replace(measurement(name, 1), rounds_ms=rounds)
        for name, rounds in (("fast", (2.0, 6.0, 2.5)), ("slow", (4.0, 12.0, 4.0)))
    )
    both = replace(COMPARISON, measurements=(fast, slow))
    assert both.ratio("fast", "slow") == Ratio(2.0, 1.6, 2.0)
    assert both.ratio("slow", "fast").median == 0.5
    with pytest.raises(KeyError, match="'other' was not measured; fast, slow were"):
        both.ratio("other", "slow")


def test_markdown() -> None:
    lines = markdown(COMPARISON).splitlines()
    assert lines[0].startswith("| model | size MB | peak MB | median ms |")
    assert lines[3] == "| int8 | 25.6 | 800 | 25.00 | 27.50 | 31.25 | 5% | 1280 | 4.00x (3.90-4.10) |"


def test_rich_table_fits_80_columns() -> None:
    both = replace(COMPARISON, measurements=(measurement("models/resnet50", 1), measurement("[int8]", 4)))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(both))
    text = console.export_text()
    assert "batch 32, 2 threads, 5 rounds in turns" in text
    assert "…" not in text
    for said in ("[int8]", "speedup", "4.00x", "(3.90-4.10)", "27.50", "31.25", "1280", "AMD EPYC, 2 cores"):
        assert said in text
