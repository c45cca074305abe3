"""What `quantize` did, on one screen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from eightfold.cli.explanation import refused, written
from eightfold.quantization.explain import Explanation, explain_report
from eightfold.quantization.report import Report
from eightfold.quantization.search_record import SearchRecord, Trial
from eightfold.search.pareto import frontier
from eightfold.system.onednn import asked_for

__all__ = ["quantized"]

SHOWN_REASONS = 6
SHOWN_NAMES = 3


def quantized(
    report: Report, model: str, saved: Path, data: str | None, preprocess: str | None = None
) -> list[RenderableType]:
    """The summary of a quantization, in parts to be shown one below the other.

    Args:
        report: of the saved model.
        model: what was quantized, as the user named it.
        saved: where the result is.
        data, preprocess: what the user named as data and as what is done to it, for the commands to try next.
    """
    explanation = explain_report(report)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(report, explanation, saved):
        facts.add_row(name, value)
    parts: list[RenderableType] = [written(explanation)]
    if explanation.refusals:
        parts.append(refused(explanation, most=SHOWN_REASONS))
    parts += [Text(line, style="yellow") for line in report.fallbacks]
    if report.search:
        parts += [Text(), *searched(report.search)]
    if not report.steps:
        parts.append(Text("Nothing is in 8 bits: what was saved is the float model.", style="bold yellow"))
    commands = (Text(f"  {command}") for command in _next(report, model, saved, data, preprocess))
    return [*parts, Text(), facts, Text("\nTo try next", style="bold"), *commands]


def searched(search: SearchRecord) -> Iterator[RenderableType]:
    """What a search found: accuracy against speed of what no other trial beats in both, and whether that will do."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), title="accuracy against speed", title_justify="left")
    for heading in ("", search.metric, "drop", "speed", "SQNR", "changed", "given back"):
        table.add_column(heading, justify="left" if heading in ("", "changed", "given back") else "right")
    table.add_row("", f"{search.float_value:.4g}", "0", "1.00x", "", "", "everything (fp32)")
    for trial in frontier([*search.trials, search.best]):
        mark = "*" if trial.key == search.chosen else ""
        figures = (f"{trial.value:.4g}", f"{trial.drop:.4g}", f"{trial.speedup:.2f}x", decibels(trial.sqnr_db))
        table.add_row(mark, *figures, escape(_changes(trial)), escape(_given_back(trial)))
    yield table
    yield Text(_verdict(search), style="bold" if search.reached else "bold yellow")


def _changes(trial: Trial) -> str:
    return ", ".join(f"{key} = {value}" for key, value in trial.changes.items())


def _given_back(trial: Trial) -> str:
    names = [*trial.fp32, *(f"{name} (bf16)" for name in trial.bf16)]
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more if names else "nothing"


def _verdict(search: SearchRecord) -> str:
    """The outcome in one sentence."""
    ended = {"budget": " when the budget was spent", "interrupted": " when it was interrupted"}.get(search.ended, "")
    best, count = search.best, len(search.trials)
    tried = "one candidate was tried" if count == 1 else f"{count} candidates were tried"
    change = f"{abs(best.drop):.4g} {'less' if best.drop >= 0 else 'more'} than float"
    lost = f"{search.metric} {best.value:.4g}, {change}"
    if search.reached:
        return f"The target is held: {lost}, at most {search.max_drop:g} allowed ({tried}{ended})."
    return f"The target was not reached: the best is {lost}, at most {search.max_drop:g} allowed ({tried}{ended})."


def _facts(report: Report, explanation: Explanation, saved: Path) -> Iterator[tuple[str, str]]:
    if report.fidelity:
        sample = "held-back" if report.fidelity.held_back else "calibration"
        agreement = report.fidelity.agreement
        top = "" if agreement is None else f", top-1 agreement {agreement:.1%}"
        yield (
            "against float",
            f"SQNR {decibels(report.fidelity.sqnr_db)}{top} on {report.fidelity.samples} {sample} samples",
        )
    if report.float_bytes and report.int8_bytes:
        yield "size", f"{size(report.float_bytes)} to {size(report.int8_bytes)}{_smaller(report)}"
    for speed in report.speed:
        times = f"{speed.float_ms:.1f} ms to {speed.int8_ms:.1f} ms"
        yield "speed", f"{times} at batch {speed.batch_size} (about {speed.speedup:.2f}x)"
    if explanation.breaks:
        count = len(explanation.breaks)
        yield "flow", f"{count} {'break' if count == 1 else 'breaks'} between 8-bit pieces; see eightfold explain"
    for note in report.notes:
        yield "note", escape(note)
    yield "saved", escape(f"{saved} (needs TensorFlow {report.requires_tensorflow} or newer)")
    for name, value in asked_for().items():
        yield (
            "to run",
            f"needs {name}={value} on this CPU, where TensorFlow leaves oneDNN off; eightfold sets it itself",
        )


def _next(report: Report, model: str, saved: Path, data: str | None, preprocess: str | None) -> Iterator[str]:
    float_form = Path(model).is_dir() or model.endswith(".pb")
    models = [model, str(saved)] if float_form else [str(saved)]
    batch_size = report.speed[0].batch_size if report.speed else 32
    yield shlex.join(["eightfold", "benchmark", *models, "--batch-size", str(batch_size)])
    if data:
        pixels = ["--preprocess", preprocess] if preprocess else []
        compared = [*pixels, "--metric", "agreement", "--reference", model]
        yield shlex.join(["eightfold", "evaluate", str(saved), "--data", data, *compared])
    yield shlex.join(["eightfold", "explain", str(saved)])


def _smaller(report: Report) -> str:
    ratio = report.float_bytes / report.int8_bytes
    return f" ({ratio:.2f}x smaller)" if ratio > 1 else ""


def size(count: int) -> str:
    """Bytes for people, in powers of ten."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def decibels(value: float) -> str:
    """A ratio in dB; without noise it has no end."""
    return f"{value:.1f} dB" if math.isfinite(value) and value < 1e3 else "exact" if value > 0 else "not finite"
