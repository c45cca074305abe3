"""Training and validation rows, and folders that are split already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.data import stratified, subsets
from eightfold.errors import DataError


@given(st.lists(st.integers(2, 30), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 5))
def test_each_class_is_on_both_sides(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    train, validation = stratified(labels, share, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(labels)))
    for label, count in enumerate(counts):
        held = int((labels[validation] == label).sum())
        assert 1 <= held <= count - 1
        assert abs(held - count * share) <= 0.5 or held in (1, count - 1)


def test_the_seed_decides() -> None:
    labels = np.repeat([0, 1], 50)
    first, again, other = (stratified(labels, 0.2, seed)[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert np.bincount(labels[first]).tolist() == [10, 10]


def test_too_few() -> None:
    with pytest.raises(DataError, match="class '1' has one picture; expected two or more"):
        stratified(np.array([0, 0, 1]), 0.5)
    with pytest.raises(DataError, match="class 'cat' has one picture"):
        stratified(np.array([0, 0, 1]), 0.5, names=("ant", "cat"))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_makes_no_sense(share: float) -> None:
    with pytest.raises(DataError, match="expected more than 0 and less than 1"):
        stratified(np.array([0, 0]), share)


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_a_folder_that_is_split(tmp_path: Path, name: str) -> None:
    folders(tmp_path, "train/a", f"{name}/a", "test/a", ".hidden")
    assert subsets(tmp_path) == {
        "train": tmp_path / "train",
        "validation": tmp_path / name,
        "test": tmp_path / "test",
    }


def test_train_and_test_alone(tmp_path: Path) -> None:
    assert list(subsets(folders(tmp_path, "train/a", "test/a"))) == ["train", "test"]


@pytest.mark.parametrize(
    "names",
    [
        ("train/a", "val/a", "cat"),  # a class beside them
        ("train/a",),  # may be a class
        ("train", "test"),  # a vehicle and an examination: classes without folders of their own
        ("val/a", "test/a"),
        (),
    ],
)
def test_folders_that_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert subsets(folders(tmp_path, *names)) == {}


def test_one_subset_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has train, val, valid, of which some mean the same"):
        subsets(folders(tmp_path, "train/a", "val/a", "valid/a"))
