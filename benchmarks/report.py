"""Results as JSON lines, and the README's tables made from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["read", "record", "table", "write_between"]

Row = dict[str, Any]
HERE = Path(__file__).parent


def read(name: str) -> list[Row]:
    """The recorded rows of a benchmark; none before its first run."""
    path = HERE / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record(name: str, rows: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """Adds rows to a benchmark's results; older rows with the same values under `key` give way."""
    new = list(rows)
    taken = {tuple(row[field] for field in key) for row in new}
    kept = [row for row in read(name) if tuple(row[field] for field in key) not in taken]
    path = HERE / "results" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in [*kept, *new]))
    return [*kept, *new]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_between(document: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- bench:NAME -->` and `<!-- /bench -->` in a document.

    Raises:
        SystemExit: the document has no such markers.
    """
    pattern = re.compile(rf"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- /bench -->)", re.DOTALL)
    before = document.read_text(encoding="utf-8")
    after, found = pattern.subn(lambda match: f"{match[1]}{text}{match[2]}", before)
    if not found:
        raise SystemExit(f"{document} has no place for the table: <!-- bench:{name} --> ... <!-- /bench -->")
    document.write_text(after, encoding="utf-8")
