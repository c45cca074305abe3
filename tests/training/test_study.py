"""A study of batch sizes: two networks for each, a log, a table and a picture."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pictures import SIDE, pictures
from PIL import Image
from rich.console import Console

from eightfold.bench.machine import this_machine
from eightfold.cli.batch_study import table
from eightfold.data.labelled import read_labelled
from eightfold.data.training_data import TrainingData, training_data
from eightfold.errors import DataError, RecipeError
from eightfold.training.curve import write_study
from eightfold.training.study import Outcome, Study, batch_study, plain_recipe


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(pictures(100), partial(read_labelled, size=SIDE))


@pytest.fixture
def studied(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, "pictures", raising=False)
    return partial(batch_study, data, "pictures:net", machine=this_machine(), epochs=2, precision="fp32")


def test_two_networks_for_each_batch_size(studied: Any, tmp_path: Path) -> None:
    told: list[Outcome] = []
    study = studied([16, 64], output=tmp_path, on_outcome=told.append)
    assert [(one.batch_size, one.how) for one in told] == [(16, "plain"), (16, "ours"), (64, "plain"), (64, "ours")]
    assert study.batch_sizes == [16, 64]
    assert {one.optimizer for one in study.of(16, "plain")} == {"adam"}
    assert all(one.seconds_per_epoch > 0 and 0 <= one.accuracy <= 1 for one in told)

    again: list[Outcome] = []
    assert studied([16, 64], output=tmp_path, on_outcome=again.append).outcomes == study.outcomes  # none anew

    console = Console(width=100, record=True)
    console.print(table(study))
    assert "accuracy, ours" in console.export_text()
    write_study(study, "a study", tmp_path / "study.png")
    with Image.open(tmp_path / "study.png") as picture:
        assert picture.size == (1200, 450)


def test_a_log_that_was_cut_off_is_gone_on_with(studied: Any, tmp_path: Path) -> None:
    whole = studied([16], output=tmp_path)
    file = tmp_path / "study.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:2]) + "\n" + lines[2][:20])
    again = studied([16], output=tmp_path)
    assert again.outcomes[0] == whole.outcomes[0]
    assert again.outcomes[1].accuracy == whole.outcomes[1].accuracy


def test_a_log_of_another_study_is_refused(studied: Any, tmp_path: Path) -> None:
    studied([16], output=tmp_path)
    with pytest.raises(DataError, match="is the log of another model"):
        studied([16], output=tmp_path, epochs=3)


def test_batch_sizes_that_make_no_sense(studied: Any) -> None:
    for sizes in ([], [1, 16]):
        with pytest.raises(RecipeError, match="expected batch sizes of 2 or more"):
            studied(sizes)


def test_a_batch_of_more_pictures_than_there_are_is_all_of_them(studied: Any, data: TrainingData) -> None:
    study: Study = studied([4096, 1024])
    assert study.batch_sizes == [len(data.rows)]


def test_the_plain_recipe_is_the_same_at_every_batch_size() -> None:
    small, large = plain_recipe(32, 1000, 10), plain_recipe(512, 1000, 10)
    for one in (small, large):
        assert (one.optimizer, one.rate, one.warmup, one.schedule) == ("adam", 1e-3, 0, "constant")
        assert one.batch_norm_momentum == 0.99
