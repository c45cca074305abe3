"""The memory allocators that a program can be started with in place of the C library's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["PACKAGES", "Library", "installed"]

Library: TypeAlias = Literal["tcmalloc", "jemalloc"]

PACKAGES: Mapping[str, str] = {"tcmalloc": "libtcmalloc-minimal4", "jemalloc": "libjemalloc2"}
"""What Debian and Ubuntu call their packages."""

_FILES: Mapping[Library, tuple[str, ...]] = {
    "tcmalloc": (r"libtcmalloc_minimal\.so(\.\d+)*", r"libtcmalloc\.so(\.\d+)*"),
    "jemalloc": (r"libjemalloc\.so(\.\d+)*",),
}
"""File names, the best first: the minimal tcmalloc is the one without a profiler."""

_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "usr/local/lib64",
    "usr/local/lib",
)
_UNFIT = re.compile(r"[\s:]")
"""What separates the paths in LD_PRELOAD; there is no way to quote it (ld.so(8))."""
_CACHED = re.compile(r"\(([^)]*)\) => (\S+)$", re.MULTILINE)


def installed(root: Path = Path("/")) -> Mapping[Library, Path]:
    """The libraries of "tcmalloc" and "jemalloc" that are here, as LD_PRELOAD takes them.

    They are looked for where the dynamic linker does: LD_LIBRARY_PATH, its cache, its folders; then in the `lib` of the
    Python environment, where conda puts them.

    Args:
        root: of the file system to look at; variables, cache and environment count for this one only.
    """
    files = [file for file in _candidates(root) if file.is_absolute() and not _UNFIT.search(str(file))]
    found: dict[Library, Path] = {}
    for name, patterns in _FILES.items():
        best = next((file for pattern in patterns for file in files if re.fullmatch(pattern, file.name)), None)
        if best is not None:
            found[name] = best
    return found


def _candidates(root: Path) -> Iterator[Path]:
    folders = [root / folder for folder in _FOLDERS]
    if root == Path("/"):
        yield from _inside(Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder)
        yield from filter(Path.is_file, _cached(_cache()))
        folders.append(Path(sys.prefix, "lib"))
    yield from _inside(folders)


def _inside(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for stem in ("libtcmalloc", "libjemalloc"):
            yield from sorted(file for file in folder.glob(f"{stem}*.so*") if file.is_file())


def _cache() -> str:
    """What the linker's cache holds, as ldconfig prints it; empty where there is no ldconfig (musl)."""
    program = shutil.which("ldconfig", path=os.pathsep.join([os.environ.get("PATH", ""), "/sbin", "/usr/sbin"]))
    if program is None:
        return ""
    return subprocess.run([program, "-p"], capture_output=True, text=True, check=False).stdout


def _cached(listing: str) -> Iterator[Path]:
    """The libraries of 64-bit x86 programs in the listing."""
    for kind, path in _CACHED.findall(listing):
        if "x86-64" in kind:
            yield Path(path)
