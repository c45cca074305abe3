from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from eightfold.bench import Turn
from eightfold.bench.steps import document, log, steps, total
from figures import measurement

TIMES = [0.5, 0.25, 0.4, 0.2, 0.5, 0.5, 0.25]


def turns(times: list[float], **more: object) -> tuple[Turn, ...]:
    """One instance, two rounds."""
    return tuple(Turn((tuple(part),), 8, 1.0, **more) for part in (times[:4], times[4:]))  # type: ignore[arg-type]


def test_figures_are_those_of_tf_cnn_benchmarks() -> None:
    """`get_perf_timing` of benchmark_cnn.py, written out."""
    shown = steps(measurement("net", turns=turns(TIMES), batch_size=8), every=3)
    assert [step.number for step in shown] == [1, 3, 6]
    for step in shown:
        times = np.array(TIMES[: step.number])
        speeds = 8 / times
        assert step.images_per_second == pytest.approx(8 / np.mean(times))
        assert step.uncertainty == pytest.approx(np.std(speeds) / np.sqrt(len(speeds)))
        assert step.jitter == pytest.approx(1.4826 * np.median(np.abs(speeds - np.median(speeds))))


def test_instances_add_up() -> None:
    both = (Turn(((0.5, 0.5), (0.25, 0.25, 0.25)), 8, 1.0),)
    measured = measurement("net", turns=both, batch_size=8, instances=2)
    last = steps(measured, every=1)[-1]
    assert (last.number, last.images_per_second, last.jitter) == (3, 48.0, 0.0)
    assert total(measured) == 48.0


def test_what_runs_alone_at_the_end_of_a_round_does_not_count() -> None:
    """Each has two batches; the second ends after a second, by when the first has done half of one."""
    rounds = tuple(Turn(times, 8, 1.0) for times in (((2.0, 0.5), (0.5, 0.5)), ((0.25, 0.25), (1.0, 1.0))))
    measured = measurement("net", turns=rounds, batch_size=8, instances=2)
    assert [turn.images_per_second for turn in rounds] == [8 * 2.5, 8 * 2.5 / 0.5]
    assert [step.images_per_second for step in steps(measured, every=1)] == [
        *(8 * 1.25 / 0.5, 8 * 2.5, 8 * 3.75 / 1.25, 8 * 5 / 1.5),
    ]
    assert total(measured) == steps(measured, every=1)[-1].images_per_second
    assert "Num batches: 4" in log(measured)


def test_the_log_in_its_known_format() -> None:
    text = log(measurement("net", turns=turns(TIMES), batch_size=8), every=5)
    lines = text.splitlines()
    first = lines.index("Step\tImg/sec\ttotal_loss")
    assert lines[first - 3 : first] == ["=" * 10, "Running warm up", "Done warm up"]
    assert lines[first + 1] == "1\timages/sec: 16.0 +/- 0.0 (jitter = 0.0)\t0.000"
    assert lines[-2] == "total images/sec: 21.54"
    assert lines[-1] == lines[-3] == "-" * 64
    assert lines[: first - 3] == [
        "Model:       net",
        "Dataset:     synthetic",
        "Mode:        forward-only",
        "SingleSess:  False",
        "Batch size:  8 global",
        "             8 per device",
        "Num batches: 7",
        "Num epochs:  0.00",
        "Devices:     ['/cpu:0']",
        "NUMA bind:   False",
        "Data format: as in the model",
        "Variables:   independent",
    ]


KNOWN_LINE = re.compile(r"^(\d+)\s+images/sec: (\S+) \+/- (\S+) \(jitter = (\S+)\)(?:\s+(\S+))?$", re.M)
"""What scripts look for in the logs of tf_cnn_benchmarks; the last is the loss."""


def test_what_reads_logs_of_tf_cnn_benchmarks_reads_these() -> None:
    measured = measurement("net", turns=turns(TIMES), batch_size=8)
    text = log(measured, every=3)
    read = [tuple(map(float, found)) for found in KNOWN_LINE.findall(text)]
    formed = [(one.number, one.images_per_second, one.uncertainty, one.jitter) for one in steps(measured, every=3)]
    assert [line[:4] for line in read] == [pytest.approx(figures, abs=0.05) for figures in formed]
    assert [line[4] for line in read] == [0.0] * 3
    (whole,) = re.findall(r"^total images/sec: (\S+)$", text, re.M)
    assert float(whole) == pytest.approx(total(measured), abs=0.005)
    about = dict(re.findall(r"^(\w[\w ]*): +(.*)$", text.partition("=" * 10)[0], re.M))
    assert (about["Model"], about["Batch size"], about["Num batches"]) == ("net", "8 global", "7")


def test_training_has_a_loss() -> None:
    losses = (({"loss": 2.5}, {"loss": 1.25}),)
    trained = (Turn(((0.5, 0.5),), 8, 1.0, losses),)
    measured = replace(measurement("net", turns=trained, batch_size=8), about={"optimizer": "momentum"})
    text = log(measured, every=1, data="photos/")
    assert "2\timages/sec: 16.0 +/- 0.0 (jitter = 0.0)\t1.250" in text
    assert "Mode:        training" in text
    assert "Dataset:     photos/" in text
    assert "Optimizer:   momentum" in text
    assert "Num epochs" not in text  # nobody has counted the photos


def test_about_ten_lines_where_nobody_says_how_many() -> None:
    many = (Turn(((0.1,) * 237,), 1, 1.0),)
    shown = steps(measurement("net", turns=many, batch_size=1))
    assert [step.number for step in shown] == [1, 24, 48, 72, 96, 120, 144, 168, 192, 216]


def test_the_document_has_the_same_figures() -> None:
    measured = measurement("net", turns=turns(TIMES), batch_size=8)
    found = document(measured, every=6)
    assert [step["number"] for step in found["steps"]] == [1, 6]
    assert found["total_images_per_second"] == pytest.approx(8 * 7 / sum(TIMES))
