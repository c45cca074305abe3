"""What `quantize` did, on one screen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from eightfold.cli.explanation import refused, written
from eightfold.quantization.explain import Explanation, explain_report
from eightfold.quantization.report import Report

__all__ = ["quantized"]

SHOWN_REASONS = 6


def quantized(report: Report, model: str, saved: Path, data: str | None) -> list[RenderableType]:
    """The summary of a quantization, in parts to be shown one below the other.

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
    for name, value in _facts(report, explanation, saved):
        facts.add_row(name, value)
    parts: list[RenderableType] = [written(explanation)]
    if explanation.refusals:
        parts.append(refused(explanation, most=SHOWN_REASONS))
    parts += [Text(line, style="yellow") for line in report.fallbacks]
    if not report.steps:
        parts.append(Text("Nothing is in 8 bits: what was saved is the float model.", style="bold yellow"))
    commands = (Text(f"  {command}") for command in _next(model, saved, data))
    return [*parts, Text(), facts, Text("\nTo try next", style="bold"), *commands]


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


def _next(model: str, saved: Path, data: str | None) -> Iterator[str]:
    float_form = Path(model).is_dir() or model.endswith(".pb")
    models = [model, str(saved)] if float_form else [str(saved)]
    yield shlex.join(["eightfold", "benchmark", *models, "--batch-size", "32"])
    if data:
        compared = ["--metric", "agreement", "--reference", model]
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
