"""Docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import eightfold

__all__ = ["first_line", "members", "public_names"]

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


def members(kind: Any, section: str) -> dict[str, str]:
    """What a docstring says of each name in a section; one entry may be of several names."""
    found = dict(_SECTION.findall((inspect.getdoc(kind) or "") + "\n"))
    said = {}
    for entry in re.split(r"\n(?=    \w)", found.get(section, "").rstrip()):
        names, _, meaning = " ".join(entry.split()).partition(": ")
        said.update(dict.fromkeys(names.split(", "), meaning))
    return said


def first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def public_names() -> str:
    """The public names, from their docstrings."""
    return "\n\n".join(_described(name, getattr(eightfold, name)) for name in sorted(eightfold.__all__))


def _described(name: str, value: Any) -> str:
    text = f"## {name}\n\n{_signature(f'eightfold.{name}', value)}\n\n{_prose(value)}"
    return "\n\n".join([text, *_described_members(name, value)]) if inspect.isclass(value) else text


def _described_members(owner: str, kind: type) -> Iterator[str]:
    for name, member in vars(kind).items():
        target = member.func if hasattr(member, "func") else getattr(member, "__func__", member)
        shown = not name.startswith("_") or name == "__call__"
        if not shown or not inspect.getdoc(target) or not (callable(target) or isinstance(target, property)):
            continue
        is_method = inspect.isfunction(target) and not hasattr(member, "func")
        heading = _signature(f"{owner}.{name}", target) if is_method else ""
        yield "\n\n".join(part for part in (f"### {owner}.{name}", heading, _prose(target)) if part)


def _signature(name: str, value: Any) -> str:
    signature = inspect.signature(value)
    shown = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    parts = [_parameter(p) for p in shown]
    keyword = next((i for i, p in enumerate(shown) if p.kind is p.KEYWORD_ONLY), None)
    if keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in shown):
        parts.insert(keyword, "*")
    result = "" if signature.return_annotation in (signature.empty, None, "None") else _returned(signature)
    text = f"{name}({', '.join(parts)}){result}"
    if len(text) > 100:
        text = f"{name}(\n    " + ",\n    ".join(parts) + f",\n){result}"
    return f"```python\n{text}\n```"


def _returned(signature: inspect.Signature) -> str:
    return f" -> {signature.return_annotation}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" * (parameter.kind is parameter.VAR_KEYWORD)
    default = parameter.default
    if default is parameter.empty:
        return f"{stars}{parameter.name}: {parameter.annotation}"
    shown = "..." if "factory" in repr(default) else repr(default)
    return f"{parameter.name}: {parameter.annotation} = {shown}"


def _prose(value: Any) -> str:
    """A docstring as Markdown: sections in bold, their entries as lists."""

    def section(found: re.Match[str]) -> str:
        entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=    \S)", found[2].rstrip())]
        listed = "\n".join(f"- {_named(entry)}" for entry in entries if entry)
        return f"**{found[1]}**\n\n{' '.join(entries) if found[1] == 'Returns' else listed}\n\n"

    return re.sub(r"\n{3,}", "\n\n", _SECTION.sub(section, (inspect.getdoc(value) or "") + "\n")).strip()


def _named(entry: str) -> str:
    return re.sub(r"^([\w, ]+): ", lambda found: f"`{found[1]}`: ", entry)
