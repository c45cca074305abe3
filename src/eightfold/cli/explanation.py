"""An explanation in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from eightfold.quantization.explain import Explanation, Reason
from eightfold.quantization.plan import Refusal
from eightfold.quantization.report import StepRecord

__all__ = ["FORMS", "block_page", "overview", "refused", "written"]

FORMS = (("fp32", "float_text"), ("8-bit dynamic", "dynamic_text"), ("8-bit calibrated", "int8_text"))
"""The three graphs of a block: title, and the attribute of its record."""

SIDE_BY_SIDE = 100
"""Columns from which on the three graphs stand beside each other."""


def overview(explanation: Explanation) -> RenderableType:
    """Everything but the blocks' graphs."""
    parts: list[RenderableType] = [written(explanation)]
    if explanation.refusals:
        parts.append(refused(explanation))
    parts += [*_section("where the 8-bit flow breaks", explanation.breaks)]
    parts += [*_section("given back to float", explanation.fallbacks), *_section("notes", explanation.notes)]
    if explanation.blocks:
        name = escape(explanation.blocks[0].name)
        parts.append(f"\n[dim]eightfold explain ... --node {name} shows the graphs of a block[/]")
    return Group(*parts)


def written(explanation: Explanation) -> RenderableType:
    """What is in 8 bits, by kind."""
    verb = "would be" if explanation.mode == "planned" else "are"
    sizes = ", ".join(str(size) for size in explanation.regions[:8]) + (", ..." * (len(explanation.regions) > 8))
    pieces = len(explanation.regions)
    connected = f" in {pieces} connected piece{'s' * (pieces != 1)} ({sizes})" if pieces else ""
    title = f"{len(explanation.blocks)} blocks {verb} in 8 bits ({escape(explanation.mode)}){connected}"
    table = _table(title, "block", "8-bit op", "number")
    for kind in explanation.kinds:
        table.add_row(kind.rewrite, kind.int8_op, str(kind.blocks))
    return table


def refused(explanation: Explanation, most: int | None = None) -> RenderableType:
    """What stays in float, by op and reason."""
    reasons = explanation.reasons
    shown = reasons if most is None else reasons[:most]
    table = _table(f"{len(explanation.refusals)} nodes stay in float", "op", "number", "why", "nodes")
    for reason in shown:
        table.add_row(reason.op, str(len(reason.nodes)), escape(reason.reason), escape(_nodes(reason)))
    if len(shown) < len(reasons):
        table.caption = f"and {len(reasons) - len(shown)} more reasons; see eightfold explain"
    return table


def _nodes(reason: Reason) -> str:
    return reason.nodes[0] + (", ..." if len(reason.nodes) > 1 else "")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for heading in headings:
        number = heading == "number"
        table.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


def _section(title: str, lines: tuple[str, ...]) -> Iterator[RenderableType]:
    if lines:
        yield f"\n[bold]{title}[/]"
        yield from (Text(f"  {line}") for line in lines)


def block_page(found: StepRecord | Refusal) -> RenderableType:
    """The three graphs of a block side by side, or why a node is in none."""
    if isinstance(found, Refusal):
        return Text(f"{found.node} ({found.op}) stays in float: {found.reason}")
    nodes = escape(", ".join(reversed(found.nodes)))
    head = f"[bold]{escape(found.name)}[/]: {found.rewrite} as {found.int8_op}, from {nodes}"
    return Group(head, _Graphs(found))


class _Graphs:
    """The three graphs: beside each other where there is room, else one below the other."""

    def __init__(self, block: StepRecord) -> None:
        self._texts = [(title, getattr(block, attribute)) for title, attribute in FORMS]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = options.max_width >= SIDE_BY_SIDE
        width = options.max_width // len(self._texts) - 1 if beside else options.max_width
        panels = [
            Panel(_lines(text), title=title, title_align="left", width=width) for title, text in self._texts
        ]
        yield Columns(panels, padding=(0, 1)) if beside else Group(*panels)


def _lines(text: str) -> RenderableType:
    if not text:
        return Text("not recorded", style="dim")
    grid = Table.grid()
    grid.add_column(overflow="fold")
    for line in text.splitlines():
        name, equals, rest = line.partition(" = ")
        grid.add_row(Text.assemble((name, "cyan"), equals, rest))
    return grid
