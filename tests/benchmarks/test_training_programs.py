"""benchmarks/training.py and large_pictures.py: what is run, recorded and shown, with programs that do not train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ALL = [
    "default environment",
    "good script",
    "good script, two lines",
    "eightfold train",
    "eightfold train, growing",
]


@pytest.fixture
def pictures(cifar: Path, tmp_path: Path) -> Path:
    import cifar_files

    cifar_files.write(cifar, tmp_path / "pictures", {"bird": ["bird"], "ship": ["ship"]}, 20, (32, 32))
    return tmp_path / "pictures"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "benchmarks.md"
    path.write_text("".join(f"<!-- bench:{name} -->\n<!-- /bench -->\n" for name in ("training", "large-pictures")))
    return path


@pytest.fixture
def benchmark(results: Path, pictures: Path, document: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the script with made-up programs; gives which of them ran."""
    import training

    def called(*arguments: str, fails_at: int = 99) -> list[tuple[int, str]]:
        ran: list[tuple[int, str]] = []

        def run(who: str, task: Any, seed: int) -> dict[str, Any]:
            if len(ran) == fails_at:
                raise KeyboardInterrupt
            ran.append((seed, who))
            seconds = {"default environment": 60.0, "good script": 30.0}.get(who, 20.0) + seed
            return {"seconds": seconds, "first_step": 5.0, "peak_gb": 1.5, "accuracy": 0.9 + seed / 100}

        monkeypatch.setattr(training, "run", run)
        given = ["training.py", str(pictures), "resnet18", "--seeds", "2", "--document", str(document), *arguments]
        monkeypatch.setattr(sys, "argv", given)
        try:
            training.main()
        except KeyboardInterrupt:
            ran.append((-1, "interrupted"))
        return ran

    return called


def test_all_programs_take_turns(benchmark: Any, document: Path) -> None:
    assert benchmark() == [*((0, who) for who in ALL[::-1]), *((1, who) for who in ALL[1:])]
    text = document.read_text()
    assert "cores, with" in text
    assert "| resnet18 | good script | 30 | 2 | 5.0 | 1.5 | 90.5% (90.0%-91.0%) | **2.00x** (2.00-2.00) |" in text
    assert (
        "| resnet18 | eightfold train | 20 | 2 | 5.0 | 1.5 | 90.5% (90.0%-91.0%) | **3.00x** (3.00-3.00) | 1 |" in text
    )
    assert "20 JPEG files, 128 pixels, 3 epochs, batches of 32" in text


def test_what_was_interrupted_goes_on(benchmark: Any) -> None:
    assert benchmark(fails_at=2)[-1] == (-1, "interrupted")
    assert benchmark("--resume") == [*((0, who) for who in ALL[2::-1]), *((1, who) for who in ALL[1:])]
    assert benchmark("--resume") == []
    assert benchmark("--resume", "--epochs", "5")[0] == (0, ALL[4])  # other runs than those


def test_only_some_programs(benchmark: Any, document: Path) -> None:
    benchmark()
    assert benchmark("--programs", "good script") == [(0, ALL[1]), (1, ALL[1])]
    assert document.read_text().count("| resnet18 |") == 5


def test_tables_of_machines_stand_side_by_side(benchmark: Any, document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import report

    benchmark()
    own = report.machine_name
    monkeypatch.setattr(report, "machine_name", lambda machine: f"another than {own(machine)}")
    benchmark("--programs", "eightfold train")
    text = document.read_text()
    assert text.count("| network |") == 2
    assert text.count("| resnet18 |") == 6
    assert "another than" in text
    assert text.count("| - | 1 |") == 1  # nothing on that machine to compare with


def test_where_onednn_is_on(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import training_programs

    asked: list[tuple[list[str], str | None]] = []

    def said(program: list[str], env: dict[str, str]) -> dict[str, Any]:
        asked.append((program, env.get("TF_ENABLE_ONEDNN_OPTS")))
        seconds = {"whole": 1.0, "data": 0.1, "start": 0.2}
        return {"accuracy": 1, "seconds": seconds, "peak_memory_gb": 1, "acceleration": {"precision": "fp32"}}

    monkeypatch.setattr(training_programs, "_said", said)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    task = training_programs.Task(pictures, "resnet18", 64, 2, 16)
    for who in ALL:
        training_programs.run(who, task, 3)
    assert [onednn for _, onednn in asked] == ["0", "1", "1", None, None]
    assert ["--plain" in program for program, _ in asked] == [True, False, False, False, False]
    assert ["--two-lines" in program for program, _ in asked] == [False, False, True, False, False]
    assert ["--progressive-resizing auto" in " ".join(program) for program, _ in asked] == [False] * 4 + [True]
    for program, _ in asked:
        text = " ".join(program)
        assert "--image-size 64 --epochs 2 --batch-size 16 --seed 3" in text


def test_the_script_with_two_lines_trains(pictures: Path) -> None:
    import training_programs

    task = training_programs.Task(pictures, "resnet18_slim", 32, 1, 8)
    found = training_programs.run("good script, two lines", task, 0)
    assert 0 < found["first_step"] < found["seconds"]
    assert found["peak_gb"] > 0.1
    assert 0 <= found["accuracy"] <= 1


def test_large_pictures_are_recorded_with_their_memory(
    cifar: Path, results: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import large_pictures

    options = ["--net", "resnet18_slim", "--image-size", "32", "--epochs", "1", "--batch-size", "8"]
    size = ["--count", "20", "--width", "400", "--height", "300"]
    monkeypatch.setattr(sys, "argv", ["large.py", str(cifar), *options, *size, "--document", str(document)])
    large_pictures.main()
    found = {"seconds": 9.0, "first_step": 4.0, "peak_gb": 2.5, "accuracy": 0.5}
    monkeypatch.setattr(large_pictures, "eightfold_train", lambda task, seed: found)
    large_pictures.main()
    text = document.read_text()
    assert text.count("| resnet18_slim | 32 | 20 | 400 x 300 |") == 1  # the second takes the place of the first
    assert "| 4.0 | 9 | **2.5** |" in text
