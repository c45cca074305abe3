"""Arrays in an .npz file, whatever their names."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["write_arrays"]


def write_arrays(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes what `numpy.savez` does, which takes an array called `file` or `allow_pickle` for an argument of its own.

    Strings are kept as Python objects, which `numpy.load` reads with `allow_pickle=True`.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array))
