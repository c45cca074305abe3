"""Small text files of the kernel: /proc and /sys."""

from __future__ import annotations

from pathlib import Path

__all__ = ["number", "text"]


def text(path: Path) -> str | None:
    """What the file says, without the newline at its end.

    `None` where the kernel does not have the file or does not give it: which ones exist depends on its version, on
    what a container shows of them, and some exist and answer every read with an error (a frequency in a VM).
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number in the file; `None` where there is no file, or no number in it ("max", "<unsupported>")."""
    said = text(path)
    return int(said) if said and said.removeprefix("-").isdecimal() else None
