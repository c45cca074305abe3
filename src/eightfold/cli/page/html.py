"""The page as text: what can be read as it is, and the scripts that draw the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from string import Template

from eightfold import __version__
from eightfold.cli.explanation import FORMS, without_scope
from eightfold.cli.page.drawing import drawing_json
from eightfold.cli.page.parts import part, script
from eightfold.cli.summary import decibels, size
from eightfold.quantization.explain import Explanation
from eightfold.quantization.report import StepRecord

__all__ = ["page"]

_VENDOR = ("d3.min.js", "plot.umd.min.js", "dagre.min.js")
_OWN = ("graph.js", "plots.js", "page.js")
_MODES = {
    "planned": "A float model: what quantization would do to it.",
    "calibrated": "An 8-bit model with ranges from calibration.",
    "dynamic": "An 8-bit model that computes its ranges while it runs.",
}


def page(explanation: Explanation) -> str:
    """The page as text."""
    return Template(part("page.html")).substitute(
        title=escape(explanation.origin or "model"),
        mode=escape(_MODES.get(explanation.mode, explanation.mode)),
        scope=_scope_note(explanation.scope),
        style=part("page.css"),
        figures="".join(f'<div class="figure"><b>{n}</b>{what}</div>' for n, what in _figures(explanation)),
        drawings=_drawings(explanation),
        sections="".join(_sections(explanation)),
        blocks="\n".join(_block(block, explanation.scope) for block in explanation.blocks)
        or '<p class="none">none</p>',
        drawing=drawing_json(explanation),
        scripts="\n".join(map(script, (*map("vendor/{}".format, _VENDOR), *_OWN))),
        version=__version__,
    )


def _drawings(explanation: Explanation) -> str:
    """The places for the drawings; a hint where there is little to draw."""
    hint = ""
    if explanation.analysis is None:
        how = "--data DATA" if explanation.mode == "planned" else "--reference FLOAT_MODEL --data DATA"
        hint = f'<p class="note">Errors, ranges and times were not measured; add {_code(how)} to measure them.</p>'
    if explanation.chart is None:
        return hint + _breaks(explanation)
    return Template(part("drawings.html")).substitute(hint=hint, breaks=_breaks(explanation))


def _breaks(explanation: Explanation) -> str:
    shown = "data-break" if explanation.chart else ""
    return _list("Where the 8-bit flow breaks", explanation.breaks, explanation.scope, shown)


def _scope_note(scope: str) -> str:
    return "" if scope == "/" else f" Names are shown without {_code(scope)}."


def _figures(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """What is worth knowing at first sight: a few large words, and what they are."""
    if explanation.search:
        best, search = explanation.search.best, explanation.search
        held = "held" if search.reached else "not held"
        yield f"{search.float_value:.4g} → {best.value:.4g}", f"{escape(search.metric)}; the limit was {held}"
    for speed in explanation.speed:
        times = f"{speed.float_ms:.1f} → {speed.int8_ms:.1f} ms at batch {speed.batch_size}"
        yield f"{speed.speedup:.2f}x", f"the speed: {times}"
    if explanation.fidelity:
        found = explanation.fidelity
        agreement = "" if found.agreement is None else f"; {found.agreement:.1%} same answers"
        yield decibels(found.sqnr_db), f"signal to noise of the outputs{agreement}, {found.samples} samples"
    if explanation.float_bytes and explanation.int8_bytes:
        ratio = explanation.float_bytes / explanation.int8_bytes
        sizes = f"{size(explanation.float_bytes)} → {size(explanation.int8_bytes)}"
        yield f"{ratio:.2f}x", f"smaller: {sizes}"
    pieces = len(explanation.regions)
    yield str(len(explanation.blocks)), f"8-bit blocks, in {pieces} connected {'piece' if pieces == 1 else 'pieces'}"
    count = len(explanation.breaks)
    rest = len(explanation.refusals)
    yield str(rest), f"{'node' if rest == 1 else 'nodes'} in float; the 8-bit flow breaks {_times(count)}"


def _times(count: int) -> str:
    return {0: "nowhere", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _sections(explanation: Explanation) -> Iterable[str]:
    scope = explanation.scope
    kinds = ([escape(k.rewrite), _code(k.int8_op), str(k.blocks)] for k in explanation.kinds)
    yield _table("In 8 bits", ("block", "8-bit op", "number"), kinds)
    reasons = (
        [
            _code(r.op),
            str(len(r.nodes)),
            escape(without_scope(r.reason, scope)),
            _folded([without_scope(node, scope) for node in r.nodes]),
        ]
        for r in explanation.reasons
    )
    yield _table("In float", ("op", "number", "why", "nodes"), reasons)
    yield _list("Given back to float by verification", explanation.fallbacks, scope)
    yield _list("Notes", explanation.notes, scope)


def _table(title: str, headings: tuple[str, ...], rows: Iterable[list[str]]) -> str:
    classes = [' class="number"' if heading == "number" else "" for heading in headings]
    head = "".join(f"<th{c}>{heading}</th>" for c, heading in zip(classes, headings, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{c}>{cell}</td>' for c, cell in zip(classes, row, strict=True))}</tr>" for row in rows
    )
    if not body:
        return f'<h2>{title}</h2><p class="none">none</p>'
    return f'<h2>{title}</h2><div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _list(title: str, lines: tuple[str, ...], scope: str, shown: str = "") -> str:
    """Sentences under a heading; `shown` is the attribute of a button that shows each in the graph."""
    items = ""
    for index, line in enumerate(lines):
        button = f' <button type="button" {shown}="{index}">show</button>' if shown else ""
        items += f"<li>{escape(without_scope(line, scope))}{button}</li>"
    return f'<h2>{title}</h2><ul class="list">{items}</ul>' if items else ""


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _folded(names: list[str]) -> str:
    """One name, or the first with the others behind a click."""
    if len(names) == 1:
        return _code(names[0])
    others = "<br>".join(map(_code, names[1:]))
    return f"<details><summary>{_code(names[0])} and {len(names) - 1} more</summary>{others}</details>"


def _block(block: StepRecord, scope: str) -> str:
    name, kind = without_scope(block.name, scope), f"{block.rewrite} as {block.int8_op}"
    head = f'{_code(name)}<span class="op">{escape(kind)}</span>'
    texts = ((title, without_scope(getattr(block, form), scope)) for title, form in FORMS)
    graphs = "".join(f"<div><h3>{title}</h3>{_graph(text)}</div>" for title, text in texts)
    return f'<details><summary>{head}</summary><div class="graphs">{graphs}</div></details>'


def _graph(text: str) -> str:
    if not text:
        return '<span class="none">not recorded</span>'
    return "".join(map(_line, text.splitlines()))


def _line(line: str) -> str:
    name, equals, rest = line.partition(" = ")
    return f"<code><b>{escape(name)}</b>{equals}{escape(rest)}</code>"
