"""Writes a table as an `.npz` file, column by column, holding one shard in memory at a time."""

from __future__ import annotations

import zipfile
from pathlib import Path

from numpy.lib import format as npy

from eightfold.prediction.columns import Column, Table

__all__ = ["write_npz"]

THE_DATE = (1980, 1, 1, 0, 0, 0)
"""Zip files hold dates; one for all keeps the bytes the same from run to run."""


def write_npz(table: Table, path: Path) -> None:
    """Writes an array for each column, as `numpy.savez` does. What a skipped row lacks is NaN, 0 or empty text."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for column in table.columns:
            member = zipfile.ZipInfo(f"{column.name}.npy", THE_DATE)
            with archive.open(member, "w", force_zip64=True) as file:
                npy.write_array_header_2_0(file, _header(column, table.rows))
                for values, _ in table.blocks([column]):
                    file.write(values[column.name].tobytes())


def _header(column: Column, rows: int) -> dict[str, object]:
    return {
        "descr": npy.dtype_to_descr(column.dtype),
        "fortran_order": False,
        "shape": (rows, *column.shape),
    }
