from __future__ import annotations

import json
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eightfold.cli.explanation import SIDE_BY_SIDE, without_scope
from eightfold.cli.page import page, write_page
from eightfold.errors import OutputError
from eightfold.quantization.explain import Explanation
from eightfold.quantization.plan import Refusal
from eightfold.quantization.report import StepRecord


def test_a_float_model_shows_what_would_happen(run: Any, float_model: Path) -> None:
    result = run("explain", float_model)
    assert result.exit_code == 0, result.stderr
    assert "blocks would be in 8 bits, in 2 connected pieces" in result.stdout
    assert "between stem/relu and tail/relu: middle/softplus (Softplus), stock TensorFlow" in result.stdout


def test_exclusions_are_planned_for(run: Any, float_model: Path) -> None:
    document = json.loads(run("explain", float_model, "--exclude", "^tail", "--json").stdout)
    reasons = {node: r["reason"] for r in document["reasons"] for node in r["nodes"]}
    assert reasons["tail/relu"] == "the recipe excludes names with '^tail'"
    assert document["mode"] == "planned"


@pytest.mark.int8
def test_a_quantized_model_is_explained_by_its_report(run: Any, int8_model: tuple[Path, Any]) -> None:
    document = json.loads(run("explain", int8_model[0], "--json").stdout)
    assert document["mode"] == "calibrated"
    assert {kind["rewrite"] for kind in document["kinds"]} >= {"conv_relu", "matmul"}
    assert [r["op"] for r in document["refusals"]] == ["Softplus"]


@pytest.mark.int8
def test_with_data_the_three_graphs_stand_side_by_side(
    run: Any, float_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    result = run("explain", float_model, "--node", "tail/relu", "--data", data)
    assert result.exit_code == 0, result.stderr
    assert re.search("fp32 .* 8-bit dynamic .* 8-bit calibrated", result.stdout)
    assert re.search(r"│ *Conv2D\(middle/softplus.*│.*│", result.stdout)
    assert "_FusedQuantizedConv2D(middle/softplus/quantize" in result.stdout
    monkeypatch.setenv("COLUMNS", str(SIDE_BY_SIDE - 1))
    narrow = run("explain", float_model, "--node", "tail/relu").stdout
    assert [line for line in narrow.splitlines() if "fp32" in line and "8-bit" in line] == []


def test_a_node_in_float_has_its_reason(run: Any, float_model: Path) -> None:
    result = run("explain", float_model, "--node", "middle/softplus")
    assert result.stdout == (
        "middle/softplus (Softplus) stays in float: stock TensorFlow has no 8-bit kernel for Softplus\n"
    )


def test_an_unknown_node_is_bad_input(run: Any, float_model: Path) -> None:
    result = run("explain", float_model, "--node", "tail/rolu")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'tail/relu'?" in result.stderr


# --- the page ------------------------------------------------------------


def sample(name: str = "net/conv<1>") -> Explanation:
    block = StepRecord(name, "conv", "Q", (name,), f"{name} = Conv2D(net/x)\n", "", f"{name} = Q(net/x)\n")
    refusals = tuple(Refusal(f"net/{op}", op, "no kernel & more") for op in ("Erf", "Elu"))
    return Explanation("a <b> model", "calibrated", (block,), refusals, (1,), ("between net/a and net/b",))


class Reader(HTMLParser):
    """The text and the unclosed tags of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_loads_nothing() -> None:
    reader = Reader()
    reader.feed(page(sample()))
    assert (reader.open, reader.loads) == ([], [])
    for text in (
        "a <b> model",
        "conv<1>",
        "Conv2D(x)",
        "no kernel & more",
        "between a and b",
        "not recorded",
    ):
        assert text in reader.text
    assert "Names are shown without net/." in reader.text


def test_the_page_replaces_an_older_one_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    write_page(sample(), file)
    assert file.read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(OutputError, match="the page cannot be written to"):
        write_page(sample(), tmp_path / "no" / "page.html")


def test_the_command_writes_the_page(run: Any, float_model: Path, tmp_path: Path) -> None:
    result = run("explain", float_model, "--html", tmp_path / "page.html", "--quiet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "middle/softplus" in (tmp_path / "page.html").read_text()


def test_a_scope_is_left_out_where_a_name_begins_only() -> None:
    assert without_scope("net/a = Op(net/b, other/net/c, subnet/d)", "net/") == ("a = Op(b, other/net/c, subnet/d)")


# --- Netron ------------------------------------------------------------


def test_netron_is_an_extra(run: Any, float_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "netron", None)
    result = run("explain", float_model, "--view")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install 'eightfold[view]'" in result.stderr


def test_the_graph_is_opened_in_netron(run: Any, float_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    netron = types.SimpleNamespace(start=opened.append, wait=lambda: None)
    monkeypatch.setitem(sys.modules, "netron", netron)
    assert run("explain", float_model, "--view", "--quiet").exit_code == 0
    assert opened == [str(float_model / "saved_model.pb")]
