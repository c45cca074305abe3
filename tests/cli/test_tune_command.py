"""`eightfold tune`: what it prints and writes, and one search with TensorFlow itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eightfold.bench.machine import Machine
from eightfold.bench.timer import Ratio
from eightfold.cli.page.tuning import tuning_page as html_page
from eightfold.cli.page.tuning import write_tuning_page
from eightfold.cli.tuning_summary import tuning_page, verdict
from eightfold.errors import OutputError
from eightfold.running.file import read
from eightfold.running.settings import Runtime
from eightfold.tuning.candidate import Sample
from eightfold.tuning.result import Trial, Tuning


def trial(rate: float, ms: float, ratio: float | None = None, **settings: Any) -> Trial:
    over = None if ratio is None else Ratio(ratio, 0.9 * ratio, 1.1 * ratio)
    return Trial("fp32", Runtime(**settings), 5, Sample(rate, ms, 1.1 * ms, 1.3 * ms), over)


def tuned(**changes: Any) -> Tuning:
    """Three candidates, TensorFlow as it comes, and one that failed."""
    default = trial(50, 20, 1.0)
    best = trial(100, 12, 2.0, intra=1, allocator="tcmalloc")
    quick = trial(90, 10, intra=2, env={"A": "<b>"})
    failed = Trial("fp32", Runtime(intra=64), 0, failure="the worker of fp32 exited with code 3: no memory\nat all")
    result = Tuning(
        model=Path("net"),
        mode="throughput",
        max_latency_ms=None,
        reached=True,
        best=best,
        default=default,
        trials=(best, quick, default, failed),
        ended="clear",
        seconds=95.0,
        started=3,
        machine=Machine("a CPU", True, True, False, True, 2, 8.0, "Linux", "3.11", 0.1),
        versions={"tensorflow": "2.21"},
        when="2026-01-01T00:00:00+00:00",
        command="eightfold tune net --mode throughput",
        file=Path("net/assets.extra/runtime.json"),
    )
    return replace(result, **changes)


def printed(result: Tuning) -> str:
    console = Console(width=140, highlight=False)
    with console.capture() as capture:
        for part in tuning_page(result):
            console.print(part)
    return capture.get()


def test_the_front_is_what_nothing_beats_in_both() -> None:
    result = tuned()
    assert result.front == [result.trials[0], result.trials[1]]


def test_the_screen_has_the_best_the_default_and_how_to_use_it() -> None:
    text = printed(tuned())
    assert re.search(r"\* +batch 1, 1 thread, tcmalloc +100 +12 +13.2 +2.00x \(1.80-2.20\)", text)
    assert re.search(r"TF +batch 1 +50 +20 +22 +1.00x", text)
    assert "eightfold run net --mode throughput -- python app.py" in text
    assert 'ef.load("net", mode="throughput")' in text
    assert "1 of the candidates could not be measured, the first because the worker of fp32" in text
    assert "at all" not in text


def test_settings_that_are_elsewhere_are_used_from_there() -> None:
    text = printed(tuned(file=Path("other.json")))
    assert "eightfold run other.json --mode throughput -- python app.py" in text
    assert "ef.load" not in text


def test_the_plot_has_all_that_was_measured() -> None:
    lines = printed(tuned()).splitlines()
    first = next(place for place, line in enumerate(lines) if line.strip().startswith("10 ms |"))
    plot = "\n".join(line.partition("|")[2] for line in lines[first : first + 11])
    assert sorted(plot.replace(" ", "").replace("\n", "")) == ["*", "T", "o"]
    assert plot.splitlines()[0].strip() == "o"  # the least latency
    assert plot.splitlines()[-1].startswith("T")  # the least of both


def test_the_outcome_in_a_sentence() -> None:
    assert verdict(tuned()) == (
        "Best: batch 1, 1 thread, tcmalloc: 100 images/s, 12 ms a batch; 2.00x (1.80-2.20) what TensorFlow's own "
        "settings reach (4 candidates in 95 s; the winner is clear)."
    )
    assert "(1 candidate in 95 s" in verdict(tuned(trials=tuned().trials[:1]))
    missed = tuned(reached=False, max_latency_ms=5.0, ended="budget", default=None)
    assert "No candidate keeps to 5 ms: this one misses it least" in verdict(missed)
    assert "the budget was spent; --resume goes on" in verdict(missed)
    same = tuned(best=tuned().trials[2])
    assert "what TensorFlow's own settings reach" not in verdict(same)


def test_bf16_is_said_to_change_the_numbers() -> None:
    best = Trial("bf16", Runtime(precision="bf16"), 5, Sample(1, 1, 1, 1))
    assert "bfloat16 changes the numbers" in printed(tuned(best=best, trials=(best,)))


def test_the_page_needs_nothing_else() -> None:
    text = html_page(tuned(max_latency_ms=15.0))
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "A=&lt;b&gt;" in text
    drawn = json.loads(re.search(r'id="drawing">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert [one["kind"] for one in drawn["trials"]] == ["best", "front", "default"]
    assert [one["front"] for one in drawn["trials"]] == [True, True, False]
    assert drawn["limit"] == 15.0
    assert "no memory" in text
    assert len(text) < 1_000_000


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js is installed")
def test_the_script_of_the_page_draws_every_trial(tmp_path: Path) -> None:
    """In a browser of a few lines: the page's own script and its libraries, with elements that only count."""
    text = html_page(tuned(max_latency_ms=15.0))
    drawing = re.search(r'id="drawing">(.*?)</script>', text, re.DOTALL)[1]  # type: ignore[index]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    file = tmp_path / "page.js"
    file.write_text(BROWSER.replace("DRAWING", json.dumps(drawing)) + ";\n".join(scripts) + ";\n" + REPORT)
    in_a_page = (
        "const { runInThisContext } = require('vm'), text = require('fs').readFileSync(process.argv[1], 'utf8');"
        "for (const name of ['module', 'exports', 'require']) delete globalThis[name];"
        "runInThisContext(text)"
    )
    run = subprocess.run(["node", "-e", in_a_page, file], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["circle"] == 3
    assert {"best", "TensorFlow as it comes"} <= set(seen["texts"])
    assert seen["ready"] == "yes"


BROWSER = """
const made = [];
class Element {
  constructor(name) { this.tagName = name; this.children = []; this.attributes = {}; this.style = {}; this.dataset = {};
    this.ownerDocument = globalThis.document; this.classList = { add() {} }; made.push(this); }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  setAttributeNS(space, key, value) { this.attributes[key] = String(value); }
  getAttribute(key) { return this.attributes[key] ?? null; }
  removeAttribute(key) { delete this.attributes[key]; }
  appendChild(child) { this.children.push(child); child.parentNode = this; return child; }
  insertBefore(child) { return this.appendChild(child); }
  append(...all) { all.forEach((one) => this.appendChild(one)); }
  removeChild(child) { this.children = this.children.filter((one) => one !== child); return child; }
  querySelectorAll() { return []; } querySelector() { return null; }
  addEventListener() {} dispatchEvent() {}
  get childNodes() { return this.children; } get firstChild() { return this.children[0] ?? null; }
  set textContent(text) { this.text = text; } get textContent() { return this.text ?? ""; }
}
globalThis.document = {
  createElement: (name) => new Element(name), createElementNS: (space, name) => new Element(name),
  createTextNode: (text) => Object.assign(new Element("#text"), { text }),
  documentElement: { namespaceURI: "http://www.w3.org/1999/xhtml" },
  querySelectorAll: () => [], querySelector: () => null,
};
document.documentElement.ownerDocument = document;
document.body = new Element("body");
const places = { drawing: Object.assign(new Element("script"), { text: DRAWING }),
                 plot: Object.assign(new Element("div"), { clientWidth: 900 }) };
document.getElementById = (id) => places[id];
globalThis.window = globalThis;
globalThis.self = globalThis;
"""
REPORT = """
const all = []; const walk = (one) => { all.push(one); one.children.forEach(walk); }; walk(places.plot);
console.log(JSON.stringify({ circle: all.filter((one) => one.tagName === "circle").length,
  texts: all.map((one) => one.text).filter(Boolean), ready: document.body.dataset.ready }));
"""


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the page cannot be written"):
        write_tuning_page(tuned(), tmp_path / "nowhere" / "page.html")


def test_the_values_of_options(run: Any, float_model: Path) -> None:
    for arguments, said in (
        (["--batch-sizes", "1,x"], "--batch-sizes takes whole numbers such as 1,8,32, not 'x'"),
        (["--env", "NAME"], "--env takes a variable as NAME=VALUE"),
        (["--precision", "int8"], "give it with --int8"),
        (["--max-latency-ms", "5"], "is for --mode throughput"),
        (["--html", "nowhere/page.html"], "cannot be written to nowhere/page.html: there is no folder nowhere"),
        (["--html", str(float_model)], "is a directory"),
    ):
        result = run("tune", float_model, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr.replace("\n", " ")


def test_a_network_by_name(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eightfold.bench import named
    from eightfold.tuning import tune

    asked: list[Path] = []
    monkeypatch.setattr(named, "saved", lambda architecture: tmp_path / architecture.name)
    monkeypatch.setattr(tune, "tune", lambda model, **options: asked.append(model) or tuned())
    assert run("tune", "ResNet-50").exit_code == 0
    assert asked == [tmp_path / "resnet50"]
    result = run("tune", "resnet5")
    assert result.exit_code == 2
    assert "no model at resnet5; expected a SavedModel folder, a frozen .pb file, or a network of" in result.stderr


def test_with_tensorflow(run: Any, float_model: Path, data: Path, tmp_path: Path) -> None:
    """From the command to the settings and the page, broken off by its budget after two turns."""
    net = tmp_path / "net"
    shutil.copytree(float_model, net)
    result = run("tune", net, "--budget", "1s", "--data", data, "--html", tmp_path / "page.html", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["best"]["p50_ms"] > 0
    assert document["versions"]["tensorflow"]
    assert read(net).modes["latency"].settings == Runtime.from_json(document["best"]["settings"])
    assert '"kind":"best"' in (tmp_path / "page.html").read_text()
