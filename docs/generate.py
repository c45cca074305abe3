"""Writes the generated parts of README.md and docs/reference: python docs/generate.py [--check]

A page is written by hand but for what stands between `<!-- generated:NAME -->` and `<!-- /generated -->`. That comes
from the program itself (the help screens, the table of rewrites, the recipe's rules, the docstrings) and from recorded
results.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from docstrings import first_line, members, public_names

from eightfold.graph.encoding import Code
from eightfold.graph.pattern import Match, matches
from eightfold.quantization.analysis import Analysis, Distribution, StepStats, TensorStats, WeightStats
from eightfold.quantization.chart import ChartNode
from eightfold.quantization.recipe import Override, Recipe
from eightfold.quantization.recipe_rules import RULES
from eightfold.quantization.report import Fidelity, Report, Speed, StepRecord
from eightfold.quantization.search_record import SearchRecord, Sensitivity, Trial
from eightfold.rewrites import REWRITES, conditions
from eightfold.rewrites.activations import clipped
from eightfold.rewrites.gelu import gelu_erf, gelu_tanh
from eightfold.rewrites.rewrite import Rewrite

__all__ = ["PARTS", "pages", "renewed"]

HERE = Path(__file__).parent
ROOT = HERE.parent
_MARKED = re.compile(r"(<!-- generated:([\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_HELP = "import sys; sys.argv[0] = 'eightfold'; from eightfold.cli.app import main; main()"
_NAMED = {"Clip": clipped, "Gelu": gelu_erf, "GeluTanh": gelu_tanh}
_TOOLS = ("TF fp32", "eightfold int8", "INC int8")
_COMMANDS = ("", "quantize", "evaluate", "benchmark", "explain", "tune", "run", "env", "predict", "train", "system")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is out of date")
    check = parser.parse_args().check
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before and check:
            raise SystemExit(f"{page.name} is out of date: run python docs/generate.py")
        page.write_text(after, encoding="utf-8")


def pages() -> list[Path]:
    """The pages that have generated parts."""
    written = (ROOT / "README.md", *sorted((HERE / "reference").glob("*.md")))
    return [page for page in written if "<!-- generated:" in page.read_text(encoding="utf-8")]


def renewed(text: str) -> str:
    """A page with its generated parts written anew."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    top = list(headings)
    lines = [top, ["---"] * len(top), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- the command line ---------------------------------------------------------------------------------------------


def command_line() -> str:
    """The help screens, as a terminal of 100 columns shows them."""
    return "\n\n".join(f"## eightfold {name}".rstrip() + f"\n\n```text\n{_help(name)}\n```" for name in _COMMANDS)


def _help(command: str) -> str:
    words = [sys.executable, "-c", _HELP, *command.split(), "--help"]
    environment = {"COLUMNS": "100", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": ":".join(sys.path), "TERM": "dumb"}
    shown = subprocess.run(words, capture_output=True, check=True, env=environment, encoding="utf-8").stdout
    return "\n".join(line.rstrip() for line in shown.strip("\n").splitlines()).strip("\n")


# --- the rewrites -------------------------------------------------------------------------------------------------


def rewrites() -> str:
    """One line a rewrite."""
    headings = ("name", "replaces", "8-bit op", "reads", "gives", "role", "TensorFlow")
    return table(headings, map(_rewrite, REWRITES))


def _rewrite(rewrite: Rewrite) -> tuple[str, ...]:
    found = _example_match(rewrite)
    reads = dict.fromkeys(_codings(code) for _, code in rewrite.reads(found))
    gives = "as read" if rewrite.same_scale else _codings(rewrite.gives(found))
    since = "{}.{}".format(*rewrite.tensorflow)
    name, replaced, op = (f"`{text}`" for text in (rewrite.name, formula(rewrite.pattern), rewrite.int8_op))
    return name, replaced, op, "; ".join(reads), gives, rewrite.role, since


def _example_match(rewrite: Rewrite) -> Match:
    graph = rewrite.example().graph
    found = (m for node in reversed(list(graph)) for m in matches(graph, rewrite.pattern, node))
    return next(m for m in found if isinstance(m, Match))


def _codings(code: Code) -> str:
    if code == Code.ANY:
        return "any"
    return (
        ", ".join(str(one.name).lower() for one in (Code.UNSIGNED, Code.OFFSET, Code.SIGNED) if one & code) or "float"
    )


def formula(pattern: Any) -> str:
    """A pattern as the formula reads; a name for the activations of several forms, `Op?` for what may be missing."""
    if hasattr(pattern, "constant"):
        return str(pattern.name)
    if hasattr(pattern, "ops"):
        inputs = ", ".join(map(formula, pattern.inputs)) or "..."
        return f"{'/'.join(sorted(pattern.ops))}({inputs})"
    for name, made in _NAMED.items():
        inner = next((part for part in _parts(pattern) if made(part) == pattern), None)
        if inner is not None:
            return f"{name}({formula(inner)})"
    first, *others = pattern.options
    if others == list(getattr(first, "inputs", ()))[:1]:
        return formula(first).replace("(", "?(", 1)
    return " or ".join(dict.fromkeys(map(formula, pattern.options)))


def _parts(pattern: Any) -> Iterator[Any]:
    """The patterns inside a pattern."""
    for part in (*getattr(pattern, "options", ()), *getattr(pattern, "inputs", ())):
        yield part
        yield from _parts(part)


def rewrite_conditions() -> str:
    """What must hold, and for which rewrites."""
    wanted: dict[str, tuple[str, list[str]]] = {}
    for rewrite in REWRITES:
        for condition in rewrite.when:
            name = condition.__qualname__.partition(".")[0]
            said = (condition.__doc__ or getattr(conditions, name, condition).__doc__ or "").partition("\n")[0]
            wanted.setdefault(name, (said, []))[1].append(f"`{rewrite.name}`")
    rows = ((f"`{name}`", said, ", ".join(dict.fromkeys(users))) for name, (said, users) in wanted.items())
    return table(("condition", "why", "asked of"), rows)


def accuracy() -> str:
    """The recorded results of benchmarks/accuracy.py."""
    found = {(row["net"], row["name"]): row for row in _results("accuracy")}
    nets, names = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    rows = ((net, *(_top1(found[net, name]) for name in names)) for net in nets)
    pictures = ", ".join(f"{net} {found[net, names[0]]['examples']}" for net in nets)
    commands = ", ".join(dict.fromkeys(f"`{row['command']}`" for row in found.values()))
    return f"{table(('network', *names), rows)}\n\nTest pictures: {pictures}; {commands}."


def _top1(row: dict[str, Any]) -> str:
    """Top-1 with its change in points; what is more than noise is set in bold."""
    if row["name"] == "TF fp32":
        return f"{row['top1']:.1%}"
    change = f"{100 * row['change']:+.1f}"
    return f"{row['top1']:.1%} ({change if row['verdict'] == 'within the noise' else f'**{change}**'})"


def peers() -> str:
    """The recorded results of benchmarks/inc.py."""
    top1 = {(r["net"], r["name"]): r["top1"] for r in _results("inc-accuracy")}
    nets = dict.fromkeys(net for net, _ in top1)
    rows = [(f"{net}, top-1", *(f"{top1[net, name]:.1%}" for name in _TOOLS)) for net in nets]
    speeds = {r["name"]: r["timing"]["median_ms"] / r["batch_size"] for r in _results("inc")}
    if speeds:
        rows.append(("ResNet-50 at batch 32, ms an image", *(f"{speeds[name]:.2f}" for name in _TOOLS)))
    return table(("", "float", "eightfold int8", "Intel Neural Compressor int8"), rows)


def _results(name: str) -> list[dict[str, Any]]:
    file = ROOT / "benchmarks" / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


# --- recipe, report, Python ---------------------------------------------------------------------------------------


def recipe_keys() -> str:
    """The keys at the top of a recipe."""
    return _keys(Recipe, skipped={"overrides"})


def override_keys() -> str:
    """The keys of an [[override]]."""
    return _keys(Override, skipped={"nodes"})


def _keys(kind: Any, skipped: Iterable[str] = ()) -> str:
    said = members(kind, "Args")
    rows = (
        (f"`{f.name}`", RULES[f.name].expected, _default(f.default), said[f.name])
        for f in fields(kind)
        if f.name not in skipped
    )
    return table(("key", "accepts", "default", "meaning"), rows)


def _default(value: Any) -> str:
    if value is None:
        return "not set"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{str(value).lower()}`"


def report_keys() -> str:
    """The keys of the JSON file, with the attributes of what is nested in it."""
    parts = []
    nested = {
        "": Report,
        "steps": StepRecord,
        "fidelity": Fidelity,
        "speed": Speed,
        "analysis": Analysis,
        "analysis.steps": StepStats,
        "analysis.steps.weight": WeightStats,
        "analysis.tensors": TensorStats,
        "values": Distribution,
        "chart.nodes": ChartNode,
        "search": SearchRecord,
        "search.trials": Trial,
        "search.ranking": Sensitivity,
    }
    for title, kind in nested.items():
        said = members(kind, "Attributes")
        rows = ((f"`{f.name}`", f"`{f.type}`", said.get(f.name, "")) for f in fields(kind))
        about = f"### `{title}`\n\n{first_line(kind)}\n\n" if title else ""
        parts.append(about + table(("key", "type", "meaning"), rows))
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "cli": command_line,
    "rewrites": rewrites,
    "conditions": rewrite_conditions,
    "recipe": recipe_keys,
    "override": override_keys,
    "report": report_keys,
    "python": public_names,
    "accuracy": accuracy,
    "peers": peers,
}

if __name__ == "__main__":
    main()
