"""What a run of training is resumed from: one file, replaced at once or not at all.

state.npz     every variable of the model (weights, moving statistics, states of random generators) and of the
              optimizer, the best weights so far, and what the loop knows, as JSON
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.errors import DataError, OutputError
from eightfold.graph.ir import Array

__all__ = ["Checkpoint", "assign"]

_FORMAT = 1
_STATE = "state.npz"
_UNFINISHED = f".{_STATE}."


class Checkpoint:
    """The checkpoint of one output folder.

    Args:
        folder: where it lies; made when it is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / _STATE

    def exists(self) -> bool:
        return self.file.is_file()

    def save(self, groups: Mapping[str, Sequence[Any]], state: Mapping[str, Any]) -> None:
        """Writes all variables and the state of the loop.

        Args:
            groups: variables of Keras, or arrays, by the name of their group.
            state: whatever JSON can hold.

        Raises:
            OutputError: the file cannot be written; an older one is as it was.
        """
        arrays: dict[str, Any] = {
            f"{name}/{at}": np.asarray(one) for name, those in groups.items() for at, one in enumerate(those)
        }
        document = json.dumps({"format": _FORMAT, **state})
        beside = self.file.with_name(f"{_UNFINISHED}{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as opened:
                np.savez(opened, **{**arrays, "state": np.array(document)})
                opened.flush()
                os.fsync(opened.fileno())
            beside.replace(self.file)
        except OSError as error:
            raise OutputError(f"the checkpoint {self.file} cannot be written: {error.strerror}") from error
        finally:
            beside.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, list[Array]], dict[str, Any]]:
        """The arrays of each group, and the state.

        Raises:
            DataError: it is damaged, or was written by another eightfold.
        """
        with self._opened() as (arrays, state):
            groups: dict[str, list[Array]] = {}
            names = [name.rpartition("/") for name in arrays.files if name != "state"]
            for group, _, at in sorted(names, key=lambda name: (name[0], int(name[2]))):
                groups.setdefault(group, []).append(arrays[f"{group}/{at}"])
        return groups, state

    def state(self) -> dict[str, Any]:
        """The state alone.

        Raises:
            DataError: it is damaged, or was written by another eightfold.
        """
        with self._opened() as (_, state):
            return state

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        try:
            with self.file.open("rb") as opened, np.load(opened) as arrays:
                state = json.loads(str(arrays["state"]))
                if state.get("format") != _FORMAT:
                    raise DataError(f"{self.file} was written by another eightfold; start anew with --overwrite")
                yield arrays, state
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"the checkpoint {self.file} is damaged: {error}; start anew with --overwrite") from error

    def remove(self) -> None:
        """Removes it, where there is one, what a process that was killed had written of another, and its folder where
        nothing else is in that."""
        for path in (self.file, *self.file.parent.glob(f"{_UNFINISHED}*")):
            path.unlink(missing_ok=True)
        if self.file.parent.is_dir() and not any(self.file.parent.iterdir()):
            self.file.parent.rmdir()


def assign(variables: Sequence[Any], values: Sequence[Array]) -> None:
    """Gives variables the values of a checkpoint.

    Raises:
        DataError: they are not those of the same model and optimizer.
    """
    shapes = [tuple(one.shape) for one in variables], [value.shape for value in values]
    if shapes[0] != shapes[1]:
        raise DataError(
            "the checkpoint is of another model or optimizer: "
            f"expected {len(shapes[0])} variables of the shapes {shapes[0][:3]}..., found {len(shapes[1])} of "
            f"{shapes[1][:3]}...; ask for the same, or start anew with --overwrite"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
