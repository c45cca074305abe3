"""Results as JSON lines, and the tables of the README and docs/benchmarks.md made from them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eightfold.bench import this_machine
from eightfold.system.packages import tensorflow_version

__all__ = ["context", "machine_name", "read", "record", "table", "write_between"]

Row = dict[str, Any]
HERE = Path(__file__).parent


def context() -> Row:
    """What belongs to every row: the machine, under `on` as its name, versions, the command, and when it ran."""
    machine = asdict(this_machine())
    return {
        "on": machine_name(machine),
        "machine": machine,
        "versions": {"tensorflow": tensorflow_version(), "keras": version("keras")},
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def machine_name(machine: Row) -> str:
    """What tells machines apart: CPU, cores, instructions."""
    extensions = {"avx512": "AVX-512", "bf16": "bfloat16", "amx": "AMX"}
    has = [name for flag, name in extensions.items() if machine[flag]]
    return f"{machine['cpu']}, {machine['cores']} cores, {'with ' + ', '.join(has) if has else 'without AVX-512'}"


def read(name: str) -> list[Row]:
    """The recorded rows of a benchmark; none before its first run."""
    path = HERE / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record(name: str, rows: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """Adds rows to a benchmark's results; older rows with the same values under `key` give way."""
    new = json.loads(json.dumps(list(rows)))  # as they are read again: keys may hold lists
    taken = [[row[field] for field in key] for row in new]
    kept = [row for row in read(name) if [row[field] for field in key] not in taken]
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
