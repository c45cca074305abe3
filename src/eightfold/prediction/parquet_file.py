"""Writes a table as a Parquet file, holding one group of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from eightfold.errors import MissingExtraError, ModelError
from eightfold.graph.ir import Array
from eightfold.prediction.columns import Column, Table

__all__ = ["arrow", "write_parquet"]

Block: TypeAlias = "tuple[dict[str, Array], dict[str, Array]]"

GROUP_ROWS = 16384
GROUP_BYTES = 64 << 20
"""A group of rows ends at the first shard that fills one of these: readers take a group at a time."""


def arrow() -> Any:
    """The module `pyarrow`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "Writing Parquet files") from None
    return pyarrow


def write_parquet(table: Table, path: Path) -> None:
    """Writes a column for each column; rows of vectors become lists of a fixed length. What skipped rows lack is null.

    Raises:
        ModelError: an output is of complex numbers, which Parquet does not have.
        MissingExtraError: pyarrow is not installed.
    """
    pa = arrow()
    from pyarrow import parquet

    schema = pa.schema([pa.field(column.name, _type(pa, column)) for column in table.columns])
    texts = [column.name for column in table.columns if column.is_text]
    with parquet.ParquetWriter(path, schema, use_dictionary=texts) as writer:
        for group in _groups(pa, table, schema):
            writer.write_table(group, row_group_size=group.num_rows)


def _groups(pa: Any, table: Table, schema: Any) -> Iterator[Any]:
    """Groups of rows as Arrow tables; shards are joined before they are converted, since a shard may be a few rows."""
    waiting: list[Block] = []
    rows = size = 0
    for values, nulls in table.blocks():
        waiting.append((values, nulls))
        rows += len(next(iter(values.values())))
        size += sum(array.nbytes for array in values.values())
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield _group(pa, table, waiting, schema)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _group(pa, table, waiting, schema)


def _group(pa: Any, table: Table, blocks: list[Block], schema: Any) -> Any:
    values, nulls = zip(*blocks, strict=True)
    arrays = [_array(pa, column, _joined(values, column), _joined(nulls, column)) for column in table.columns]
    return pa.Table.from_arrays(arrays, schema=schema)


def _joined(parts: Sequence[dict[str, Array]], column: Column) -> Array:
    return np.concatenate([one[column.name] for one in parts])


def _type(pa: Any, column: Column) -> Any:
    if column.dtype.kind == "c":
        raise ModelError(
            f"the output {column.name!r} is {column.dtype}, which Parquet does not have; write an .npz file"
        )
    kind = {"U": pa.string(), "S": pa.binary()}.get(column.dtype.kind)
    made = pa.from_numpy_dtype(column.dtype) if kind is None else kind
    for extent in reversed(column.shape):
        made = pa.list_(made, extent)
    return made


def _array(pa: Any, column: Column, values: Array, nulls: Array) -> Any:
    """The values of some rows as an Arrow array, and which of them are null."""
    if not column.shape:
        flat = values.tolist() if column.is_text else values
        return pa.array(flat, type=_type(pa, column), mask=nulls)
    made = pa.array(values.ravel().tolist() if column.is_text else np.ascontiguousarray(values).ravel())
    for extent in reversed(column.shape[1:]):
        made = pa.FixedSizeListArray.from_arrays(made, extent)
    return pa.FixedSizeListArray.from_arrays(made, type=_type(pa, column), mask=pa.array(nulls))
