"""Some named arrays and texts in a file that is whole as soon as it is there, and cheap to open: there are thousands.

8 bytes     how long the next part is
JSON        {"about": ..., "arrays": {"score": {"dtype": "<f4", "shape": [24, 5], "at": 0}, ...}}
bytes       the arrays, each from its `at` on; of texts, the bytes of all of them and where each ends
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.errors import DataError, OutputError
from eightfold.graph.ir import Array

__all__ = ["UNFINISHED", "ArrayFile", "write_arrays"]

UNFINISHED = ".tmp"
"""How the name of a file ends until it is whole; it begins with a dot."""

_LENGTH = struct.Struct("<Q")
_TEXT, _ENDS = "text", "ends"


def write_arrays(path: Path, arrays: Mapping[str, Array], about: Any = None) -> None:
    """Writes arrays; those of objects must hold texts or bytes.

    The file is flushed before it takes its name: it survives a loss of power, and is never half-written.

    Args:
        path: where; what is there is replaced.
        arrays: by name.
        about: anything that JSON can hold, to go with them.

    Raises:
        OutputError: it cannot be written.
    """
    table: dict[str, dict[str, Any]] = {}
    blocks: list[bytes | memoryview] = []
    for name, array in arrays.items():
        table[name] = _packed(array, blocks) if array.dtype == object else _plain(array, blocks)
    header = json.dumps({"about": about, "arrays": table}).encode()
    try:
        number, temporary = tempfile.mkstemp(prefix=".", suffix=UNFINISHED, dir=path.parent)
        try:
            with open(number, "wb") as file:
                file.writelines([_LENGTH.pack(len(header)), header, *blocks])
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # on a full disk, what is left would take the room of other parts
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


class ArrayFile(Mapping[str, Array]):
    """The arrays of such a file; each is read when it is asked for. Texts are bytes.

    Attributes:
        about: what was written with them.

    Raises:
        DataError: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
                header = json.loads(file.read(length))
                self.about, self._table = header["about"], header["arrays"]
        except (OSError, ValueError, KeyError, TypeError, struct.error, OverflowError, MemoryError) as error:
            raise self._damaged(error) from error
        self._start = _LENGTH.size + length

    def __getitem__(self, name: str) -> Array:
        found = self._table[name]
        if _ENDS not in found:
            return self._read(found)
        text, ends = (self._read(found[part]) for part in (_TEXT, _ENDS))
        whole, starts = text.tobytes(), [0, *ends.ravel()[:-1].tolist()]
        values = np.empty(ends.size, object)
        values[:] = [whole[start:end] for start, end in zip(starts, ends.ravel().tolist(), strict=False)]
        return values.reshape(ends.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def form(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """The element type and shape of an array, without reading it; of texts, those of objects."""
        found = self._table[name]
        if _ENDS in found:
            return np.dtype(object), tuple(found[_ENDS]["shape"])
        return np.dtype(found["dtype"]), tuple(found["shape"])

    def _read(self, entry: Mapping[str, Any]) -> Array:
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape))
        try:
            values = np.fromfile(self._path, dtype, count, offset=self._start + entry["at"])
            return values.reshape(shape)
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self._path} is damaged or missing ({error}); start anew with --overwrite")


def _plain(array: Array, blocks: list[bytes | memoryview]) -> dict[str, Any]:
    at = sum(len(block) for block in blocks)
    blocks.append(np.ascontiguousarray(array).tobytes())
    return {"dtype": array.dtype.str, "shape": array.shape, "at": at}


def _packed(array: Array, blocks: list[bytes | memoryview]) -> dict[str, Any]:
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel()]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64).reshape(array.shape)
    return {
        _TEXT: _plain(np.frombuffer(b"".join(texts), np.uint8), blocks),
        _ENDS: _plain(ends, blocks),
    }
