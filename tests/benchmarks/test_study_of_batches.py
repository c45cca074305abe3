"""benchmarks/batch_study.py, on pictures that are learned at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NETS = Path(__file__).parents[1] / "training"


def row(size: int, **accuracies: list[float]) -> dict[str, Any]:
    outcomes = [
        {"how": how, "accuracy": one, "seconds_per_epoch": 2.0 + place}
        for how, those in accuracies.items()
        for place, one in enumerate(those)
    ]
    return {"task": "binary", "batch": size, "outcomes": outcomes}


def test_drops_are_against_the_better_recipe_at_the_smallest_batch() -> None:
    import batch_study

    small, large = row(32, plain=[0.8, 0.9], ours=[0.9, 0.92]), row(512, plain=[0.5, 0.7], ours=[0.88, 0.92])
    cells = dict(zip(batch_study.HEADINGS, batch_study.line(large, [large, small]), strict=True))
    assert cells["s an epoch, ours"] == "2.50"
    assert cells["accuracy, plain"] == "60.0% (50.0% to 70.0%)"
    assert cells["drop, plain"] == "31.0 (22.0 to 40.0)"
    assert cells["drop, ours"] == "1.0 (0.0 to 2.0)"


def test_a_class_may_be_made_of_several(cifar: Path, tmp_path: Path) -> None:
    import cifar_files

    parts = cifar_files.parts_of("vehicle=ship+truck,cat")
    assert parts == {"vehicle": ["ship", "truck"], "cat": ["cat"]}
    cifar_files.write(cifar, tmp_path / "made", parts, 60, (40, 24))
    made = sorted(file.relative_to(tmp_path / "made") for file in (tmp_path / "made").rglob("*.jpg"))
    assert [file.parent.name for file in made] == ["cat"] * 16 + ["vehicle"] * 30  # there are but 16 cats
    with Image.open(tmp_path / "made" / made[0]) as picture:
        assert picture.size == (40, 24)
    with pytest.raises(SystemExit, match="unknown class lynx; expected some of airplane"):
        cifar_files.write(cifar, tmp_path / "made", {"lynx": ["lynx"]}, 60, (40, 24))


def test_each_seed_is_recorded_and_none_is_trained_twice(
    cifar: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import batch_study
    import report

    monkeypatch.syspath_prepend(str(NETS))
    monkeypatch.delitem(sys.modules, "pictures", raising=False)
    document = tmp_path / "benchmarks.md"
    document.write_text("<!-- bench:batch-study -->\n<!-- /bench -->\n")
    small = ["--tasks", "three classes", "--batch-sizes", "16", "--epochs", "1", "--image-size", "16", "--count", "48"]
    places = ["--net", "pictures:net", "--work-dir", str(tmp_path / "work"), "--document", str(document)]
    for seeds in ("1", "2"):
        monkeypatch.setattr(sys, "argv", ["batch_study.py", str(cifar), *small, *places, "--seeds", seeds])
        batch_study.main()
        (recorded,) = report.read("batch-study")
        assert [one["seed"] for one in recorded["outcomes"]] == sorted(2 * list(range(int(seeds))))
        assert len((tmp_path / "work/three-classes/seed-0/study.jsonl").read_text().splitlines()) == 3
    assert "| three classes | 16 |" in document.read_text()
    assert "48 pictures, seeds: 2;" in document.read_text()
    capsys.readouterr()
