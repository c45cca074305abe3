"""A folder of pictures for `fit` in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import class_folders, pixels, write

from eightfold.data import Augment, ImageFolder, image_folder
from eightfold.data.decoding import Misnamed
from eightfold.errors import DataError

pytest.importorskip("tensorflow")


def read(dataset: Any) -> tuple[Any, Any]:
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pictures", {"cat": 10, "dog": 20})


def test_what_fit_takes(folder: Path) -> None:
    data = image_folder(folder, 16, 8)
    assert isinstance(data, ImageFolder)
    assert data.classes == ("cat", "dog")
    assert data.class_weights == {0: pytest.approx(24 / 16), 1: pytest.approx(24 / 32)}
    images, labels = read(data.train)
    assert images.shape == (24, 16, 16, 3)
    assert np.bincount(labels).tolist() == [8, 16]
    held, held_labels = read(data.validation)
    assert np.bincount(held_labels).tolist() == [2, 4]
    np.testing.assert_array_equal(held, read(data.validation)[0])
    assert int(data.train.cardinality()) == 3


def test_each_iteration_differs_and_each_run_is_the_same(folder: Path) -> None:
    first, second = image_folder(folder, 16), image_folder(folder, 16)
    epochs = [read(first.train) for _ in range(2)]
    for epoch in epochs:
        for one, other in zip(epoch, read(second.train), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(epochs[0][0], epochs[1][0])


def test_without_augmentation_and_with_another(folder: Path) -> None:
    plain, _ = read(image_folder(folder, 16, augment=False).train)
    assert (plain == np.rint(plain)).all()
    bright, _ = read(image_folder(folder, 16, augment=Augment(flip_horizontal=False, crop=False)).train)
    assert not (bright == np.rint(bright)).all()


def test_fit(folder: Path) -> None:
    keras = pytest.importorskip("keras")
    data = image_folder(folder, 16, 8)
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(
        data.train, validation_data=data.validation, class_weight=data.class_weights, epochs=2, verbose=0, shuffle=False
    )
    assert np.isfinite(history.history["loss"] + history.history["val_loss"]).all()


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_folder_that_is_split(tmp_path: Path, name: str) -> None:
    class_folders(tmp_path / "train", {"a": 4, "b": 4, "c": 4})
    class_folders(tmp_path / name, {"c": 3, "a": 2})
    class_folders(tmp_path / "test", {"a": 1})
    write(tmp_path / name / "a" / "broken.png", b"")
    write(tmp_path / "train" / "b" / "x.jpg", pixels(0), "png")
    data = image_folder(tmp_path, 16)
    assert sorted(read(data.train)[1].tolist()) == [0] * 4 + [1] * 5 + [2] * 4
    assert sorted(read(data.validation)[1].tolist()) == [0, 0, 2, 2, 2]
    assert [each.name for each in data.skipped] == [f"{name}/a/broken.png"]
    assert data.misnamed == (Misnamed("train/b/x.jpg", "PNG"),)


def test_train_and_test_alone_are_split(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 4, "b": 4})
    class_folders(tmp_path / "test", {"a": 1, "b": 1})
    data = image_folder(tmp_path, 16, validation=0.25)
    assert len(read(data.train)[1]) == 6
    assert len(read(data.validation)[1]) == 2


def test_the_disk(folder: Path, tmp_path: Path) -> None:
    memory = image_folder(folder, 16, cache="memory")
    disk = image_folder(folder, 16, cache="disk", cache_folder=str(tmp_path / "cache"))
    np.testing.assert_array_equal(read(memory.train)[0], read(disk.train)[0])


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder .*nowhere; expected one with a sub-folder"):
        image_folder(tmp_path / "nowhere", 16)
    class_folders(tmp_path, {"a": 1, "b": 2})
    with pytest.raises(DataError, match="class 'a' has one picture"):
        image_folder(tmp_path, 16)
