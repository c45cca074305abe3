"""The generated pages are those of the program as it is; public names are documented."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import eightfold as ef

GENERATE = Path(__file__).parents[2] / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script docs/generate.py, which imports what lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(GENERATE.parent)
        return importlib.import_module(GENERATE.stem)


def test_generated_parts_are_up_to_date(generate: ModuleType) -> None:
    stale = [page.name for page in generate.pages() if generate.renewed(page.read_text()) != page.read_text()]
    assert not stale, "run: python docs/generate.py"


def test_every_part_is_on_a_page(generate: ModuleType) -> None:
    text = "".join(page.read_text() for page in generate.pages())
    assert all(f"<!-- generated:{name} -->" in text for name in generate.PARTS)


@pytest.mark.parametrize("name", ef.__all__)
def test_public_names_say_what_they_take_and_give(name: str) -> None:
    value = getattr(ef, name)
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        members = set(getattr(value, "__dataclass_fields__", {}))
        missing = [member for member in members if f"{member}:" not in text and f"{member}," not in text]
    else:
        missing = [p for p in inspect.signature(value).parameters if f"{p}:" not in text and f"{p}," not in text]
        missing += [part for part in ("Args:", "Returns:", "Raises:") if part not in text]
    assert not missing, f"{name} does not say: {', '.join(sorted(missing))}"
