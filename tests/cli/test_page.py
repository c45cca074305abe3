"""What the page of `eightfold explain --html` is told to draw; test_page_in_browser.py looks at the drawing."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from small_explanation import explained, searched

from eightfold.cli.page.drawing import drawing, drawing_json
from eightfold.cli.page.html import page
from eightfold.graph.writer import Writer
from eightfold.quantization.report import Report, read_report

VENDOR = files("eightfold.cli.page").joinpath("vendor")


def test_the_graph_is_that_of_the_chart_with_names_shortened() -> None:
    nodes = drawing(explained())["nodes"]
    assert [(n["name"], n["kind"], n["sources"], n["block"]) for n in nodes] == [
        ("x", "input", (), None),
        ("a", "int8", (0,), 0),
        ("</script>", "fp32", (1,), None),
        ("b", "int8", (2,), 1),
    ]
    assert nodes[2]["reason"] == "no kernel"
    assert nodes[2]["ms"] == [0.5, 0.7]


def test_a_break_names_the_boxes_on_its_way() -> None:
    assert drawing(explained())["breaks"] == [[1, 2, 3]]


def test_a_block_shows_what_was_measured() -> None:
    first, second = drawing(explained())["blocks"]
    assert (first["own"], first["total"], first["ms"]) == (31.0, 30.0, [4.0, 1.0])
    assert [read["name"] for read in first["reads"]] == ["x:0"]
    assert first["gives"]["encoding"] == "unsigned"
    assert first["weight"]["limits"] == (2.0, 1.0, 0.01)
    assert "own" not in second


def test_a_search_is_shown_with_its_ranking_and_what_each_trial_changed() -> None:
    shown: Any = drawing(replace(explained(), search=searched()))["search"]
    assert [(t["what"], t["chosen"]) for t in shown["trials"]] == [
        ("as asked for", False),
        ("observer = mse, 1 in fp32", True),
    ]
    assert shown["target"] == pytest.approx(0.75)
    assert shown["ranking"][0]["name"] == "a"


def test_the_figures_are_before_and_after() -> None:
    text = page(replace(explained(), search=searched()))
    found = re.findall(r'<div class="figure"><b>(.*?)</b>(.*?)</div>', text)
    assert found == [
        ("0.76 → 0.755", "top1; the limit was held"),
        ("4.00x", "the speed: 600.0 → 150.0 ms at batch 32"),
        ("26.5 dB", "signal to noise of the outputs; 98.0% same answers, 64 samples"),
        ("4.00x", "smaller: 4.0 MB → 1.0 MB"),
        ("2", "8-bit blocks, in 2 connected pieces"),
        ("1", "node in float; the 8-bit flow breaks once"),
    ]


def test_no_name_ends_the_script_that_holds_it() -> None:
    text = drawing_json(explained())
    assert "<" not in text
    assert json.loads(text)["nodes"][2]["name"] == "</script>"


def test_what_was_not_measured_is_named_with_the_way_to_measure_it() -> None:
    bare = replace(explained(), analysis=None)
    assert "--reference FLOAT_MODEL --data DATA" in page(bare)
    assert "--reference" not in page(replace(bare, mode="planned"))
    assert "not measured" not in page(explained())


def test_the_page_can_be_sent_by_mail() -> None:
    assert len(page(explained()).encode()) < 1_000_000


def test_what_it_draws_with_is_as_published() -> None:
    said = re.findall(r"^\| `(\S+\.js)` .*\| `([0-9a-f]{64})` \|$", VENDOR.joinpath("README.md").read_text(), re.M)
    assert {name for name, _ in said} == {Path(str(f)).name for f in VENDOR.iterdir() if f.name.endswith(".js")}
    for name, digest in said:
        assert hashlib.sha256(VENDOR.joinpath(name).read_bytes()).hexdigest() == digest, name
        assert VENDOR.joinpath(f"{name.partition('.')[0]}.LICENSE").is_file()


# --- the command ------------------------------------------------------------


@pytest.mark.int8
def test_quantize_measures_and_the_report_keeps_it(run: Any, int8_model: tuple[Path, Any]) -> None:
    report = read_report(int8_model[0])
    assert report.analysis is not None
    assert report.chart is not None
    assert set(report.analysis.steps) == {step.name for step in report.steps}
    assert [node.kind for node in report.chart.nodes].count("int8") == len(report.steps)
    assert Report.from_dict(report.to_dict()) == report
    assert len(report.analysis.pack()) + len(report.chart.pack()) < 4000


@pytest.mark.int8
def test_a_model_without_measurements_gets_them_from_its_float_model(
    run: Any, float_model: Path, data: Path, steady: Path, tmp_path: Path
) -> None:
    model, file = tmp_path / "dynamic", tmp_path / "page.html"
    dynamic = run("quantize", float_model, "--dynamic", "-o", model, "--recipe", steady)
    assert dynamic.exit_code == 0, dynamic.stderr
    assert read_report(model).analysis is None
    without = run("explain", model, "--reference", float_model, "--html", file)
    assert (without.exit_code, without.stdout) == (2, "")
    assert "give it with --data" in without.stderr
    found = run("explain", model, "--reference", float_model, "--data", data, "--html", file, "--quiet")
    assert found.exit_code == 0, found.stderr
    assert '"own":' in file.read_text()


@pytest.mark.int8
def test_a_reference_that_is_another_model_is_refused(
    run: Any, int8_model: tuple[Path, Any], data: Path, tmp_path: Path
) -> None:
    from eightfold.tf.savedmodel import write_saved_model

    w = Writer()
    x = w.input("image", (None, 12, 12, 8))
    write_saved_model(w.model(y=w.node("Relu", w.conv(x, w.normal(3, 3, 8, 8)), name="other")), tmp_path / "other")
    result = run("explain", int8_model[0], "--reference", tmp_path / "other", "--data", data, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "was not made from" in result.stderr


@pytest.mark.int8
def test_a_float_model_is_measured_where_there_is_data(run: Any, float_model: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert run("explain", float_model, "--data", data, "--html", file, "--quiet").exit_code == 0
    assert '"own":' in file.read_text()
    assert "not measured" not in file.read_text()
