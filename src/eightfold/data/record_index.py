"""Where records begin in TFRecord files, so that reading can begin at any of them.

A record in a file: its length (8 bytes, little endian), a checksum of the length (4), the data, its checksum (4).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eightfold.errors import DataError

__all__ = ["RecordIndex", "is_packed", "record_index", "records_from"]

_HEADER = struct.Struct("<Q4x")
_CHECKSUM = 4
_AT_A_TIME = 16 << 20


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """Where every so many records begin.

    Attributes:
        rows: how many records there are in all files.
        every: records between two places.
        places: number of the file and byte in it, of record 0, `every`, 2 `every`, ...
    """

    rows: int
    every: int
    places: tuple[tuple[int, int], ...]

    def before(self, row: int) -> tuple[int, int, int]:
        """The nearest place at or before a record: the record that is there, its file, the byte in it."""
        step = min(row // self.every, len(self.places) - 1)
        return step * self.every, *self.places[step]


def is_packed(file: Path) -> bool:
    """Whether a TFRecord file is compressed, by its name. Reading such a file can begin at its start only."""
    return file.suffix == ".gz"


def record_index(files: Sequence[Path], every: int) -> RecordIndex:
    """Goes from length to length through uncompressed files, without reading the records.

    Raises:
        DataError: a file cannot be read, or ends inside a record.
    """
    rows = 0
    places: list[tuple[int, int]] = []
    for number, file in enumerate(files):
        for offset, _ in _bounds(file):
            if rows % every == 0:
                places.append((number, offset))
            rows += 1
    return RecordIndex(rows, every, tuple(places))


def records_from(files: Sequence[Path], offset: int = 0) -> Iterator[tuple[Path, bytes]]:
    """The records of all files, in order, each with its file; of the first file from byte `offset` on.

    Raises:
        DataError: a file is no TFRecord file, or damaged.
    """
    import tensorflow as tf

    for file in files:
        try:
            for part in _parts(file, offset):
                packed = "GZIP" if is_packed(file) else ""
                for record in tf.data.TFRecordDataset(str(part), packed).as_numpy_iterator():
                    yield file, record
        except tf.errors.OpError as error:
            raise DataError(f"{file} is not a TFRecord file that can be read: {error.message}") from error
        offset = 0


def _parts(file: Path, offset: int) -> Iterator[Path]:
    """The file itself, or what of it comes after an offset, as files in memory.

    TensorFlow checks the checksums, but reads files from their start: the op that does not
    (TFRecordDatasetV2 with `byte_offsets`) fails when it is made an iterator.
    """
    if not offset:
        yield file
        return
    with file.open("rb") as stream:
        for begin, end in _stretches(file, offset):
            stream.seek(begin)
            number = os.memfd_create(file.name)
            with open(number, "wb", buffering=0) as memory:
                memory.write(stream.read(end - begin))
                yield Path(f"/proc/self/fd/{number}")


def _stretches(file: Path, offset: int) -> Iterator[tuple[int, int]]:
    """The bytes of whole records, from the first to before the last, a few MB at a time."""
    begin, end = offset, offset
    for _, end in _bounds(file, offset):
        if end - begin >= _AT_A_TIME:
            yield begin, end
            begin = end
    if end > begin:
        yield begin, end


def _bounds(file: Path, at: int = 0) -> Iterator[tuple[int, int]]:
    """Where each record begins and ends."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            while at < size:
                stream.seek(at)
                header = stream.read(_HEADER.size)
                end = at + _HEADER.size + _CHECKSUM
                end += _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
                if end > size:
                    raise DataError(f"{file} is not a whole TFRecord file: its end, byte {size}, is inside a record")
                yield at, end
                at = end
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
