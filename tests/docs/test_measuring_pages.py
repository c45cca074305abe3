"""The pages on data and metrics: their Python runs, and they name every metric and every feature."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eightfold.data import records
from eightfold.metrics import METRICS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("page", ["metrics.md", "data.md"])
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = re.findall(r"^```python\n(.*?)^```$", (REFERENCE / page).read_text(), re.DOTALL | re.MULTILINE)
    assert parts
    exec("\n".join(parts), {"__name__": page})


def test_every_metric_is_named() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_every_feature_is_named() -> None:
    text = (REFERENCE / "data.md").read_text()
    sides = {f"`{name}`" for name in records.BOX} - {f"`{records.BOX[0]}`"}
    named = {f"`{n}`" for n in (records.PICTURE, *records.CLASS_LABELS, records.SOURCE_ID, *records.BOX)}
    named |= {f"`{n}`" for n in (records.OBJECT_CLASS, *records.IGNORED)}
    assert [name for name in named - sides if name not in text] == []
    assert all(f"`{name.rsplit('/', 1)[1]}`" in text for name in records.BOX[1:])
