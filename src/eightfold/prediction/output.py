"""The file that the answers are written to."""

from __future__ import annotations

import os
from pathlib import Path

from eightfold.errors import OutputError
from eightfold.prediction.columns import Table
from eightfold.prediction.npz_file import write_npz
from eightfold.prediction.parquet_file import arrow, write_parquet
from eightfold.quantization.placement import written_beside

__all__ = ["assemble", "check_output"]

PARQUET, NPZ = ".parquet", ".npz"


def check_output(output: Path, *, overwrite: bool) -> None:
    """Finds out before hours of work whether the output can be written.

    Raises:
        OutputError: it is of no known kind, or is there already.
        MissingExtraError: writing Parquet needs pyarrow.
    """
    if output.suffix not in (PARQUET, NPZ):
        raise OutputError(f"the output {output} is of no known kind; expected a name that ends in {PARQUET} or {NPZ}")
    if output.suffix == PARQUET:
        arrow()
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there already; choose another place or allow overwriting (--overwrite)")


def assemble(table: Table, output: Path, *, overwrite: bool) -> None:
    """Puts the parts together into one file, which takes its place when it is whole and on the disk.

    Raises:
        OutputError: it cannot be written.
    """
    with written_beside(output, overwrite) as place:
        (write_parquet if output.suffix == PARQUET else write_npz)(table, place)
        with place.open("rb") as file:
            os.fsync(file.fileno())
