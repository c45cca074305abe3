"""Which pictures train and which validate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["stratified", "subsets"]

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
"""How people call the folders of a data set that is split already."""


def stratified(labels: Array, share: float, seed: int = 0, names: Sequence[str] = ()) -> tuple[Array, Array]:
    """Rows for training and rows for validation, drawn at random, of each class in the same share.

    Args:
        labels: whole numbers, [n].
        share: of each class that validates, above 0 and below 1; rounded, but at least one picture on each side.
        seed: the same one gives the same rows.
        names: of the classes by number, for the message.

    Returns:
        Two arrays of rows, int64, ascending, that have all rows between them.

    Raises:
        DataError: a class has a single picture, or the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise DataError(f"the share of pictures for validation is {share:g}; expected more than 0 and less than 1")
    rng = np.random.default_rng(seed)
    held: list[Array] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            name = names[label] if names else label
            raise DataError(f"class '{name}' has one picture; expected two or more, to train and to validate with")
        count = min(max(round(len(rows) * share), 1), len(rows) - 1)
        held.append(rng.permutation(rows)[:count])
    validates = np.zeros(len(labels), bool)
    validates[np.concatenate(held)] = True
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def subsets(path: Path) -> dict[str, Path]:
    """The folders of a data set that is split already: those of `train`, `validation` and `test` that there are.

    It is one where each sub-folder has such a name (`train`, `val`, ...) and holds class folders, and two or more are
    there, `train` among them; else the sub-folders are classes, and the result is empty.

    Raises:
        DataError: two names mean the same, such as `val` and `valid`.
    """
    folders = _folders(path)
    known = {folder: subset for subset, names in NAMES.items() for folder in names}
    found = [(known.get(folder.name.lower()), folder) for folder in folders]
    if len(found) < 2 or not all(subset and _folders(folder) for subset, folder in found):
        return {}
    named = {subset: folder for subset, folder in found if subset is not None}
    if len(named) < len(found):
        raise DataError(f"{path} has {_listed(folders)}, of which some mean the same; expected each once")
    return {subset: named[subset] for subset in NAMES if subset in named} if "train" in named else {}


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
