"""An explanation in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from eightfold.quantization.explain import Explanation
from eightfold.quantization.plan import Refusal
from eightfold.quantization.report import StepRecord

__all__ = ["FORMS", "block_page", "overview", "refused", "without_scope", "written"]

FORMS = (("fp32", "float_text"), ("8-bit dynamic", "dynamic_text"), ("8-bit calibrated", "int8_text"))
"""The three graphs of a block: title, and the attribute of its record."""

SIDE_BY_SIDE = 100
"""Columns from which on the three graphs stand beside each other."""
MOST_SIZES = 8
"""Regions whose size is named."""


def overview(explanation: Explanation) -> RenderableType:
    """Everything but the blocks' graphs."""
    parts: list[RenderableType] = [written(explanation)]
    if explanation.refusals:
        parts.append(refused(explanation))
    parts += [*_section("Where the 8-bit flow breaks", explanation.breaks, explanation.scope)]
    parts += [*_section("Given back to float by verification", explanation.fallbacks, explanation.scope)]
    parts += [*_section("Notes", explanation.notes)]
    if explanation.blocks:
        name = without_scope(explanation.blocks[0].name, explanation.scope)
        hint = f"\n--node NAME shows the graphs of a block, for example --node {name}"
        if explanation.scope != "/":
            hint += f"; names are shown without {explanation.scope}"
        parts.append(Text(hint, style="dim"))
    return Group(*parts)


def written(explanation: Explanation) -> RenderableType:
    """What is in 8 bits, by kind."""
    count = len(explanation.blocks)
    verb = "would be" if explanation.mode == "planned" else "is" if count == 1 else "are"
    title = f"{count} block{'s' * (count != 1)} {verb} in 8 bits"
    if explanation.regions:
        sizes = ", ".join(map(str, explanation.regions[:MOST_SIZES]))
        more = ", ..." if len(explanation.regions) > MOST_SIZES else ""
        pieces = len(explanation.regions)
        title += f", in {pieces} connected piece{'s' * (pieces != 1)} of {sizes}{more}"
    table = _table("block", "8-bit op", "number")
    for kind in explanation.kinds:
        table.add_row(kind.rewrite, kind.int8_op, str(kind.blocks))
    return Group(Text(title, style="bold"), *([table] if explanation.kinds else []))


def refused(explanation: Explanation, most: int | None = None) -> RenderableType:
    """What stays in float, by op and reason."""
    reasons = explanation.reasons
    table = _table("op", "number", "why", "nodes")
    for reason in reasons[:most]:
        first = without_scope(reason.nodes[0], explanation.scope) + ", ..." * (len(reason.nodes) > 1)
        why = without_scope(reason.reason, explanation.scope)
        table.add_row(reason.op, str(len(reason.nodes)), escape(why), escape(first))
    if most is not None and len(reasons) > most:
        table.add_row("...", "", f"and {len(reasons) - most} more reasons; see eightfold explain", "")
    count = len(explanation.refusals)
    title = Text(f"\n{count} node{'s stay' if count != 1 else ' stays'} in float", style="bold")
    return Group(title, table)


def _table(*headings: str) -> Table:
    table = Table(header_style="dim", box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        number = heading == "number"
        table.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


def _section(title: str, lines: tuple[str, ...], scope: str = "/") -> Iterator[RenderableType]:
    if lines:
        yield Text(f"\n{title}", style="bold")
        for line in lines:
            yield Padding(Text(without_scope(line, scope)), (0, 0, 0, 2))


def block_page(found: StepRecord | Refusal, scope: str) -> RenderableType:
    """The three graphs of a block side by side, or why a node is in none."""
    if isinstance(found, Refusal):
        return Text(f"{found.node} ({found.op}) stays in float: {found.reason}")
    nodes = ", ".join(without_scope(node, scope) for node in reversed(found.nodes))
    head = Text.assemble((found.name, "bold"), f"\n{found.rewrite} as {found.int8_op}, from {nodes}")
    return Group(head, _Graphs(found, scope))


class _Graphs:
    """The three graphs: beside each other where there is room, else one below the other."""

    def __init__(self, block: StepRecord, scope: str) -> None:
        texts = [(title, getattr(block, attribute)) for title, attribute in FORMS]
        self._panels = [(title, _lines(without_scope(text, scope))) for title, text in texts]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < SIDE_BY_SIDE:
            yield from (Panel(lines, title=title, title_align="left") for title, lines in self._panels)
            return
        grid = Table(box=ROUNDED, expand=True, header_style="bold")
        for title, _ in self._panels:
            grid.add_column(title, ratio=1)
        grid.add_row(*(lines for _, lines in self._panels))
        yield grid


def without_scope(text: str, scope: str) -> str:
    """The text of a graph with its names shortened."""
    return text if scope == "/" else re.sub(rf"(?<![\w/.]){re.escape(scope)}", "", text)


def _lines(text: str) -> RenderableType:
    if not text:
        return Text("not recorded", style="dim")
    grid = Table.grid()
    grid.add_column(overflow="fold")
    for line in text.splitlines():
        name, _, rest = line.partition(" = ")
        grid.add_row(Text(f"{name} =", style="cyan"))
        grid.add_row(Padding(Text(rest), (0, 0, 0, 2)))
    return grid
