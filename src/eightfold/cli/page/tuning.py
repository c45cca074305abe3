"""What tuning found as one HTML page: throughput against latency of all candidates, and their table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from eightfold import __version__
from eightfold.cli.page.parts import part, script, written
from eightfold.cli.screen import finite
from eightfold.cli.tuning_summary import effort, in_words
from eightfold.tuning.result import Trial, Tuning

__all__ = ["tuning_page", "write_tuning_page"]

_SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "tuning.js")
_MODES = {
    "latency": "Settings for latency: one batch as soon as possible.",
    "throughput": "Settings for throughput: as many images in a second as possible.",
}
_HEADINGS = ("images/s", "p50 ms", "p90 ms", "p99 ms", "over default", "turns")


def write_tuning_page(result: Tuning, file: Path) -> None:
    """Writes the page; an older file is replaced at once or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    written(tuning_page(result), file)


def tuning_page(result: Tuning) -> str:
    """The page as text."""
    machine, versions = str(result.machine), ", ".join(f"{name} {text}" for name, text in result.versions.items())
    return Template(part("tuning.html")).substitute(
        title=escape(str(result.model)),
        mode=escape(_MODES[result.mode] + _limit(result)),
        style=part("page.css"),
        figures="".join(f'<div class="figure"><b>{escape(n)}</b>{escape(what)}</div>' for n, what in _figures(result)),
        headings="".join(f'<th class="number">{heading}</th>' for heading in _HEADINGS),
        rows="\n".join(_row(trial, best=trial is result.best) for trial in result.trials if trial.sample),
        failures=_failures([trial for trial in result.trials if trial.sample is None]),
        drawing=json.dumps(finite(_drawing(result)), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        scripts="\n".join(map(script, _SCRIPTS)),
        machine=escape(machine),
        versions=escape(versions),
        when=escape(result.when),
        command=escape(result.command),
        version=__version__,
    )


def _limit(result: Tuning) -> str:
    if result.max_latency_ms is None:
        return ""
    kept = "" if result.reached else ", which no candidate did"
    return f" Nine of ten batches were to take at most {result.max_latency_ms:g} ms{kept}."


def _figures(result: Tuning) -> Iterator[tuple[str, str]]:
    """What is worth knowing at first sight."""
    best = result.best
    assert best.sample is not None
    yield f"{best.sample.images_per_second:.4g}", "images in a second"
    yield f"{best.sample.p50_ms:.3g} ms", f"for a batch of {best.settings.batch_size}; p90 {best.sample.p90_ms:.3g} ms"
    if best.ratio is not None:
        yield f"{best.ratio}", f"what TensorFlow's own settings reach ({best.ratio.low:.2f}-{best.ratio.high:.2f})"
    yield str(len(result.trials)), effort(result)
    yield in_words(best), "the best settings"


def _row(trial: Trial, *, best: bool) -> str:
    sample = trial.sample
    assert sample is not None
    figures = (sample.images_per_second, sample.p50_ms, sample.p90_ms, sample.p99_ms)
    ratio = f"{trial.ratio} ({trial.ratio.low:.2f}-{trial.ratio.high:.2f})" if trial.ratio else ""
    cells = (*(f"{figure:.4g}" for figure in figures), ratio, str(trial.turns))
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    opening = '<tr class="best">' if best else "<tr>"
    return f"{opening}<td>{escape(in_words(trial))}</td>{numbers}</tr>"


def _failures(failed: list[Trial]) -> str:
    if not failed:
        return ""
    items = "".join(f"<li>{escape(in_words(trial))}: {escape(trial.failure or 'unknown')}</li>" for trial in failed)
    return f'<h2>What could not be measured</h2><ul class="list">{items}</ul>'


def _drawing(result: Tuning) -> dict[str, Any]:
    """What the script draws."""
    front = {id(trial) for trial in result.front}
    default = result.default.settings if result.default else None

    def kind(trial: Trial) -> str:
        if trial is result.best:
            return "best"
        if trial.settings == default and trial.variant == (result.default and result.default.variant):
            return "default"
        return "front" if id(trial) in front else "other"

    trials = [
        {
            "rate": trial.sample.images_per_second,
            "ms": trial.sample.p50_ms,
            "kind": kind(trial),
            "front": id(trial) in front,
            "what": in_words(trial),
        }
        for trial in result.trials
        if trial.sample
    ]
    return {"trials": trials, "limit": result.max_latency_ms}
