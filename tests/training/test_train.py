"""`eightfold.train` from pictures to a model: what comes of it, what is written, and how it is gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pictures import CLASSES, SIDE, net, pictures
from PIL import Image

from eightfold.data.labelled import read_labelled
from eightfold.data.training_data import training_data
from eightfold.errors import DataError, OutputError, RecipeError
from eightfold.training import loop as loop_module
from eightfold.training.assembly import loop_of
from eightfold.training.checkpoint import Checkpoint
from eightfold.training.collective import Alone
from eightfold.training.ending import Ending
from eightfold.training.loop import Diverged, Loop
from eightfold.training.recipe import recipe_for
from eightfold.training.sets import picture_sets, training_batches
from eightfold.training.stopping import Stopped
from eightfold.training.train import Trained, train

FILES = {"model.keras", "classes.txt", "history.json", "report.json", "curve.png", "logs"}


class Killed(BaseException):
    """What ends a run in the middle."""


def trained(data: Any = None, **options: Any) -> Trained:
    keras.utils.set_random_seed(3)
    settings = {"image_size": SIDE, "epochs": 3, "batch_size": 16, "precision": "fp32", "rate": 0.05, **options}
    return train(data or pictures(), net(), **settings)


def weights(result: Trained) -> list[Any]:
    return [np.asarray(one) for one in result.model.weights]


def test_it_learns_and_says_what_it_did() -> None:
    result = trained(epochs=6)
    assert result.report.accuracy > 0.9
    assert [one.epoch for one in result.history] == [1, 2, 3, 4, 5, 6]
    assert result.history[-1].loss < result.history[0].loss
    assert result.report.ended == "epochs"
    assert result.report.classes == {"0": (32, 8), "1": (32, 8), "2": (32, 8)}
    assert result.report.acceleration.fused
    assert result.report.recipe.batch_size == 16
    assert result.report.seconds.whole > result.report.seconds.steps > 0
    assert result.report.seconds.start > 0
    assert 0.1 < result.report.peak_memory_gb < 64


def test_the_same_seed_gives_the_same_model() -> None:
    one, same, other = (trained(seed=seed, epochs=1) for seed in (0, 0, 1))
    for a, b in zip(weights(one), weights(same), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_what_is_written(tmp_path: Path) -> None:
    result = trained(output=tmp_path / "run")
    assert {file.name for file in (tmp_path / "run").iterdir()} == FILES
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["accuracy"] == result.report.accuracy
    assert report["recipe"]["rate"] == 0.05
    assert report["classes"]["1"] == {"train": 32, "validation": 8}
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 3
    assert (tmp_path / "run" / "classes.txt").read_text() == "0\n1\n2\n"
    with Image.open(tmp_path / "run" / "curve.png") as picture:
        assert picture.size == (1200, 450)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is drawn


def test_the_model_is_an_ordinary_file_of_keras(tmp_path: Path) -> None:
    result = trained(output=tmp_path / "run", epochs=1)
    pixels = pictures(4)[0].astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    program = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
        "assert not any(name.startswith('eightfold') for name in sys.modules)\n"
    )
    files = [tmp_path / "run" / "model.keras", tmp_path / "pixels.npy", tmp_path / "scores.npy"]
    subprocess.run([sys.executable, "-c", program, *map(str, files)], check=True, capture_output=True)
    expected = np.asarray(result.model(pixels))
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, rtol=1e-4, atol=1e-5)


def test_event_files_hold_the_curves(tmp_path: Path) -> None:
    from tensorflow.python.summary.summary_iterator import summary_iterator

    result = trained(output=tmp_path / "run", epochs=2)
    (file,) = (tmp_path / "run" / "logs").iterdir()
    found = {}
    for event in summary_iterator(str(file)):
        for value in event.summary.value:
            found[value.tag, event.step] = float(np.frombuffer(value.tensor.tensor_content, np.float32)[0])
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")
    for epoch in result.history:
        assert found["epoch/val_accuracy", epoch.epoch] == pytest.approx(epoch.val_accuracy)
        assert found["epoch/loss", epoch.epoch] == pytest.approx(epoch.loss, rel=1e-6)


@pytest.mark.parametrize("after", [1, 8, 13])
def test_a_run_that_was_killed_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after each step
    whole = trained()

    def killed(stage: str, done: int, total: int | None) -> None:
        if stage == "train" and done == after + 1:
            raise Killed

    with pytest.raises(Killed):
        trained(output=tmp_path / "run", progress=killed)
    assert not (tmp_path / "run" / "model.keras").exists()
    with pytest.raises(OutputError, match="has not ended"):
        trained(output=tmp_path / "run")
    resumed = trained(output=tmp_path / "run", resume=True)
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [one.loss for one in resumed.history] == [one.loss for one in whole.history]
    assert not (tmp_path / "run" / "checkpoint").exists()


class Asked(Alone):
    """A worker that finds itself asked to stop when it looks for that the nth time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def stopping(self) -> int:
        self.looks -= 1
        return 0 if self.looks else signal.SIGINT


LOOKS = 6 + 2 + 1
"""Of an epoch: after each step, before each batch of statistics, and before each of validation."""


@pytest.mark.parametrize(
    ("after", "when"),
    [
        (2, "batch 2 of epoch 1"),
        (6, "batch 6 of epoch 1"),
        (8, "batch 6 of epoch 1"),
        (LOOKS, "batch 6 of epoch 1"),
        (LOOKS + 1, "batch 1 of epoch 2"),
    ],
)
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path, after: int, when: str) -> None:
    whole = trained()
    with pytest.raises(Stopped, match=f"Stopped by SIGINT after {when}") as stopped:
        trained(output=tmp_path / "run", workers=Asked(after))
    assert stopped.value.signal == signal.SIGINT
    resumed = trained(output=tmp_path / "run", resume=True)
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [one.val_loss for one in resumed.history] == [one.val_loss for one in whole.history]
    assert resumed.report.accuracy == whole.report.accuracy


def test_a_run_that_was_stopped_while_it_took_the_final_statistics_goes_on(tmp_path: Path) -> None:
    whole = trained(target=0.01)
    with pytest.raises(Stopped, match="Stopped by SIGINT after the last epoch"):
        trained(output=tmp_path / "run", target=0.01, workers=Asked(LOOKS + 1))
    resumed = trained(output=tmp_path / "run", target=0.01, resume=True)
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


class Second(Alone):
    """Worker 1, to whom worker 0 says what it was given when it resumed the same run."""

    rank = 1

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []
        self.arrays: list[Any] = []

    def gather(self, value: Any) -> list[Any]:
        return [self.said.pop(0) if self.said else value, value]

    def broadcast(self, arrays: Any) -> list[Any]:
        assert [one.shape for one in arrays] == [one.shape for one in self.arrays]
        return self.arrays


def test_every_worker_has_the_best_weights_of_a_run_that_goes_on(tmp_path: Path) -> None:
    def loop(workers: Alone) -> Loop:
        data = training_data(pictures(), partial(read_labelled, size=SIDE), validation=0.2, seed=0)
        recipe = recipe_for(16, len(data.rows), 3)
        sets = picture_sets(data, recipe, training_batches(data, recipe), workers)
        return loop_of(net(), recipe, data, sets, Ending(), checkpoint=Checkpoint(tmp_path), workers=workers)

    first = loop(Alone())
    with pytest.raises(Stopped):
        first.run(lambda stage, done, total: first._workers.stop.make(signal.SIGINT) if done == 8 else None)
    assert first._best
    told = Second()
    second = loop(told)
    told.said, told.arrays = [first.state.to_json(), True], first._best
    second.resume()
    assert second.state == first.state
    for one, other in zip(second._best, first._best, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_is_resumed_only_as_the_same(tmp_path: Path) -> None:
    def killed(epoch: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        trained(output=tmp_path / "run", on_epoch=killed)
    with pytest.raises(DataError, match=r"cannot be resumed \(epochs: 3 then, 5 now.*rate: 0.05 then, 0.1 now"):
        trained(output=tmp_path / "run", resume=True, epochs=5, rate=0.1)


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(epoch: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        trained(output=tmp_path / "run", on_epoch=killed, precision="fp32")
    monkeypatch.setattr("eightfold.training.accelerate.trial", lambda *_: pytest.fail("no trial is needed"))
    assert trained(output=tmp_path / "run", resume=True, precision="auto").report.acceleration.precision == "fp32"


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_batch(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="expected a finite number.*the batch is kept in.*lower the rate"):
        trained(output=tmp_path / "run", rate=1e20, epochs=5, optimizer="sgd")
    with np.load(tmp_path / "run" / "diverged.npz") as kept:
        assert kept["x"].shape == (16, SIDE, SIDE, 3)
        assert kept["y"].shape == kept["names"].shape == (16,)
        labels = [int(name.split()[-1]) % CLASSES for name in kept["names"]]  # rows are named by number
        assert labels == kept["y"].tolist()


def test_a_target_ends_it() -> None:
    result = trained(epochs=50, target="accuracy=0.9")
    assert result.report.ended == "target"
    assert len(result.history) < 50
    assert result.history[-1].val_accuracy >= 0.9


def test_without_a_number_of_epochs_the_best_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eightfold.training.ending.PATIENCE", 2)
    monkeypatch.setattr("eightfold.training.ending.AUTO_EPOCHS", 25)
    result = trained(epochs="auto")
    assert result.report.ended in ("no gain", "epochs")
    best = max(one.val_accuracy for one in result.history)
    assert result.report.final.val_accuracy == best
    rates = [one.rate for one in result.history]
    assert rates[-1] < rates[2] or result.report.ended == "epochs"


def test_classes_can_count_the_same() -> None:
    pixels, labels = pictures(150)
    rare = np.concatenate([np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)[:10]])
    result = trained((pixels[rare], labels[rare]), balance=True, epochs=6)
    assert result.report.classes["0"] == (8, 2)
    assert result.report.accuracy > 0.9


def test_pictures_of_a_folder_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    pixels, labels = pictures(60)
    for at, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "data" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).resize((40, 30)).save(folder / f"{at:03}.png")
    (tmp_path / "data" / "class1" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "data" / "class0" / "000.png").rename(tmp_path / "data" / "class0" / "000.jpg")
    result = trained(str(tmp_path / "data"), epochs=1)
    assert result.classes == ("class0", "class1", "class2")
    assert list(result.report.skipped) == ["class1/broken.jpg"]
    assert list(result.report.misnamed) == ["class0/000.jpg"]
    assert result.model.input_shape == (None, SIDE, SIDE, 3)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there cannot be 0 epochs"):
        trained(epochs=0)
    with pytest.raises(RecipeError, match="nothing to resume without an output folder"):
        trained(resume=True)
    with pytest.raises(RecipeError, match="there is no optimizer 'rmsprop'"):
        trained(optimizer="rmsprop")
    with pytest.raises(DataError, match="the share of pictures for validation is 1.5"):
        trained(validation=1.5, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
