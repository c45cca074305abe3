"""The documents are true: links lead somewhere, tests that are named exist, commands and snippets run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eightfold.cli.app import app
from eightfold.quantization.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TRAIN = "python examples/train_digits.py ."
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *kinds: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        if kind in kinds:
            yield kind, text


def anchor(heading: str) -> str:
    """The name that a heading has in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if fragment:
            assert fragment in [anchor(line.lstrip("# ")) for line in file.read_text().splitlines()], target


@PAGE
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for path, test in re.findall(r"`((?:tests|benchmarks|examples)/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


@PAGE
def test_nothing_of_this_machine_is_in_it(page: Path) -> None:
    assert not re.search(r"(^|[\s`(\"'])/(?!\d)(?:home|root|tmp|usr|work|opt)\b", page.read_text())


@PAGE
def test_lines_of_prose_have_at_most_120_characters(page: Path) -> None:
    by_hand = re.sub(r"<!-- (generated|bench):.*?<!-- /\1 -->", "", page.read_text(), flags=re.DOTALL)
    assert not [line for line in by_hand.splitlines() if len(line) > 120 and not line.startswith("|")]


@PAGE
def test_options_that_are_named_exist(page: Path) -> None:
    help_texts = "\n".join(text for _, text in blocks(ROOT / "docs/reference/cli.md", "text"))
    known = {*re.findall(r"--[\w-]+", help_texts), *re.findall(r"--[\w-]+", "--check --tag_set --signature_def --dir")}
    assert app.info.name == "eightfold"
    for line in re.findall(r"eightfold [a-z]+ [^`\n]*", page.read_text()):
        assert set(re.findall(r"(?<=\s)--[\w-]+", line)) <= known, line


@PAGE
def test_recipes_are_recipes(page: Path) -> None:
    for _, text in blocks(page, "toml"):
        Recipe.from_toml(text)


@PAGE
def test_json_is_json(page: Path) -> None:
    for _, text in blocks(page, "json"):
        json.loads(text)


def test_the_benchmark_has_its_place_in_the_readme() -> None:
    assert re.search(r"<!-- bench:throughput -->\n.*?<!-- /bench -->", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What examples/train_digits.py writes, made once."""
    folder = tmp_path_factory.mktemp("digits")
    train = [sys.executable, ROOT / "examples/train_digits.py", folder]
    run = subprocess.run(train, check=True, capture_output=True, text=True)
    assert re.search(r"accuracy: 0\.9", run.stdout), run.stdout
    return folder


RUN = [
    "ARCHITECTURE.md",
    "README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/tutorials/*.md"))),
]


@pytest.mark.int8
@pytest.mark.parametrize("name", RUN)
def test_commands_and_snippets_run(name: str, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run.py").write_text(script(ROOT / name))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


def script(page: Path) -> str:
    """All of a page's Python in one process, and its shell commands between; `py` blocks are only to be read."""
    lines = ["import subprocess"]
    for kind, text in blocks(page, "bash", "python"):
        if kind == "python":
            lines.append(text)
        elif text.strip() != TRAIN:
            quick = re.sub(
                r"(eightfold benchmark [^\n]*)", r"\1 --rounds 1 --seconds 0.1", text
            )  # the last option wins
            quick = re.sub(r"(eightfold tune [^\n]*)", r"\1 --budget 1s", quick)
            lines.append(f"subprocess.run(['bash', '-euo', 'pipefail', '-c', {quick!r}], check=True)")
    return "\n".join(lines)
