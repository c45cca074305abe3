"""Labelled pictures in two parts: those that train, and those that validate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from eightfold.data.decoding import Misnamed, Skipped
from eightfold.data.labelled import Labelled
from eightfold.data.split import stratified, subsets
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["TrainingData", "training_data"]

_Named = TypeVar("_Named", Skipped, Misnamed)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run trains and validates with.

    Attributes:
        train, rows: the pictures, and those of them that train.
        held, held_rows: likewise those that validate; `held` is `train` where one set was split.
        skipped: pictures of both that cannot be read.
        misnamed: files of both whose content is not what their name says.
    """

    train: Labelled
    rows: Array
    held: Labelled
    held_rows: Array
    skipped: tuple[Skipped, ...]
    misnamed: tuple[Misnamed, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names by number."""
        return self.train.classes

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """How many pictures of each class train, and how many validate."""
        both = ((self.train, self.rows), (self.held, self.held_rows))
        train, held = (np.bincount(of.labels[rows], minlength=len(self.classes)).tolist() for of, rows in both)
        return dict(zip(self.classes, zip(train, held, strict=True), strict=True))


def training_data(
    source: Any, read: Callable[..., Labelled], *, validation: float | str | Path = 0.2, seed: int = 0
) -> TrainingData:
    """Reads pictures and parts them.

    Args:
        source: what `read` takes; or a folder with `train` and `validation` (also `val`, `valid`), each of which has
            a folder for each class.
        read: gives the pictures of a source; it takes `classes=`. See `eightfold.data.labelled.read_labelled`.
        validation: the share of each class that validates, unless the folder is parted already; or a source of its
            own.
        seed: of the parting.

    Raises:
        DataError: there are too few pictures, or the share is not between 0 and 1; and whatever `read` raises.
    """
    given = subsets(Path(source)) if isinstance(source, str | Path) else {}
    home = given.get("train", source)
    share = float(validation) if isinstance(validation, float | int) else None
    held_home: Any = validation if share is None else given.get("validation")
    train = read(home)
    if share is not None and held_home is None:
        rows, held_rows = stratified(train.labels, share, seed, train.classes)
        return TrainingData(train, rows, train, held_rows, train.skipped, train.misnamed)
    held = read(held_home, classes=train.classes)
    if held.counts.keys() != train.counts.keys() or not len(held.labels):
        raise DataError(f"{held_home} has no pictures to validate with; expected some of the classes of {home}")
    parts = [(home, train), (held_home, held)]
    return TrainingData(
        train,
        np.arange(len(train.labels)),
        held,
        np.arange(len(held.labels)),
        tuple(_within(source, folder, one) for folder, part in parts for one in part.skipped),
        tuple(_within(source, folder, one) for folder, part in parts for one in part.misnamed),
    )


def _within(root: Any, folder: Any, named: _Named) -> _Named:
    """With its name from the root on, where it lies below that."""
    paths = isinstance(root, str | Path) and isinstance(folder, str | Path)
    if not paths or not Path(folder).is_relative_to(root):
        return named
    return replace(named, name=(Path(folder).relative_to(root) / named.name).as_posix())
