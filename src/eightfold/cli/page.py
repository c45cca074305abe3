"""An explanation as one HTML page that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from eightfold import __version__
from eightfold.cli.explanation import FORMS, without_scope
from eightfold.errors import OutputError
from eightfold.quantization.explain import Explanation
from eightfold.quantization.report import StepRecord

__all__ = ["page", "write_page"]


def write_page(explanation: Explanation, file: Path) -> None:
    """Writes the page; an older file is replaced at once or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    text = page(explanation)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise OutputError(f"the page cannot be written to {file}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def page(explanation: Explanation) -> str:
    """The page as text."""
    template = Template(files("eightfold.cli").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(explanation.origin or "model"),
        mode=escape(_MODES.get(explanation.mode, explanation.mode)),
        scope=_scope_note(explanation.scope),
        figures="".join(f'<div class="figure"><b>{n}</b>{what}</div>' for n, what in _figures(explanation)),
        sections="".join(_sections(explanation)),
        blocks="\n".join(_block(block, explanation.scope) for block in explanation.blocks)
        or '<p class="none">none</p>',
        version=__version__,
    )


_MODES = {
    "planned": "A float model: what quantization would do to it.",
    "calibrated": "An 8-bit model with ranges from calibration.",
    "dynamic": "An 8-bit model that computes its ranges while it runs.",
}


def _scope_note(scope: str) -> str:
    return "" if scope == "/" else f" Names are shown without {_code(scope)}."


def _figures(explanation: Explanation) -> list[tuple[int, str]]:
    return [
        (len(explanation.blocks), "8-bit blocks"),
        (len(explanation.refusals), "nodes in float"),
        (len(explanation.regions), "connected 8-bit pieces"),
        (len(explanation.breaks), "breaks of the 8-bit flow"),
    ]


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
    yield _list("Where the 8-bit flow breaks", explanation.breaks, scope)
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


def _list(title: str, lines: tuple[str, ...], scope: str) -> str:
    items = "".join(f"<li>{escape(without_scope(line, scope))}</li>" for line in lines)
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
