"""Arrays in files that are read through the page cache, a piece at a time, rather than loaded whole."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["arrays_of", "mapped_npy"]

_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member of a zip file: the lengths of its name and of its extra field, which the data follows."""

_HEADERS: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def arrays_of(path: Path) -> dict[str, Array]:
    """The arrays of an `.npz` file by name: mapped where they are stored as they are, read where they are compressed.

    Raises:
        DataError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            if start == npy.MAGIC_PREFIX[:2]:
                raise DataError(
                    f"{path} holds one array without a name; expected an .npz file, or the name {path.stem}.npy"
                )
            if start != b"PK":
                raise DataError(f"{path} is not an .npz file that can be read: it is no zip archive")
            with zipfile.ZipFile(file) as archive:
                return {
                    member.filename.removesuffix(".npy"): _member(path, archive, member) for member in _all(archive)
                }
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is not an .npz file that can be read: {error}") from error


def mapped_npy(path: Path) -> Array:
    """The array of an `.npy` file, mapped.

    Raises:
        DataError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            return _mapped(path, file)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not an .npy file that can be read: {error}") from error


def _all(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in archive.infolist() if member.filename.endswith(".npy")]


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as stream:
            return npy.read_array(stream, allow_pickle=False)
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(name + extra, 1)
        return _mapped(path, file)


def _mapped(path: Path, file: BinaryIO) -> Array:
    """The array whose header begins where `file` stands."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format {version[0]}.{version[1]} is unknown")
    read_header = _HEADERS[version]
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read from files")
    if not all(shape):
        return np.zeros(shape, dtype)  # nothing to map
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
