"""What `quantize` did, on one screen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from eightfold.cli.explanation import refused, written
from eightfold.quantization.explain import Explanation, explain_report
from eightfold.quantization.report import Report

__all__ = ["quantized"]

SHOWN_REASONS = 6


def quantized(report: Report, model: str, saved: Path, data: str | None) -> RenderableType:
    """The summary of a quantization.

    Args:
        report: of the saved model.
        model: what was quantized, as the user named it.
        saved: where the result is.
        data: what the user named as data, for the command to try next.
    """
    explanation = explain_report(report)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(report, explanation, model, saved, data):
        facts.add_row(name, value)
    parts: list[RenderableType] = [written(explanation)]
    if explanation.refusals:
        parts.append(refused(explanation, most=SHOWN_REASONS))
    parts += [f"[yellow]{escape(line)}[/]" for line in report.fallbacks]
    if not report.steps:
        parts.append("[bold yellow]Nothing is in 8 bits: what was saved is the float model.[/]")
    return Group(*parts, "", facts)


def _facts(
    report: Report, explanation: Explanation, model: str, saved: Path, data: str | None
) -> Iterator[tuple[str, str]]:
    if report.fidelity:
        sample = "held-back" if report.fidelity.held_back else "calibration"
        agreement = report.fidelity.agreement
        top = "" if agreement is None else f", top-1 agreement {agreement:.1%}"
        yield "against float", f"SQNR {decibels(report.fidelity.sqnr_db)}{top} on {report.fidelity.samples} {sample} samples"
    if report.float_bytes and report.int8_bytes:
        ratio = report.float_bytes / report.int8_bytes
        yield "size", f"{report.float_bytes / 1e6:.1f} MB to {report.int8_bytes / 1e6:.1f} MB ({ratio:.2f}x smaller)"
    for speed in report.speed:
        times = f"{speed.float_ms:.1f} ms to {speed.int8_ms:.1f} ms"
        yield "speed", f"{times} at batch {speed.batch_size} (about {speed.speedup:.2f}x)"
    if explanation.breaks:
        yield "flow", f"{len(explanation.breaks)} breaks between 8-bit pieces; see eightfold explain"
    for note in report.notes:
        yield "note", escape(note)
    yield "saved", escape(f"{saved} (needs TensorFlow {report.requires_tensorflow} or newer)")
    for number, command in enumerate(_next(model, saved, data)):
        yield "" if number else "next", escape(command)


def _next(model: str, saved: Path, data: str | None) -> Iterator[str]:
    float_form = Path(model).is_dir() or model.endswith(".pb")
    models = [model, str(saved)] if float_form else [str(saved)]
    yield shlex.join(["eightfold", "benchmark", *models, "--batch-size", "32"])
    if data:
        compared = ["--metric", "agreement", "--reference", model]
        yield shlex.join(["eightfold", "evaluate", str(saved), "--data", data, *compared])
    yield shlex.join(["eightfold", "explain", str(saved)])


def decibels(value: float) -> str:
    """A ratio in dB; without noise it has no end."""
    return f"{value:.1f} dB" if math.isfinite(value) and value < 1e3 else "exact" if value > 0 else "not finite"
