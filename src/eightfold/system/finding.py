"""A fact about the machine, and what it means for the speed of 8-bit models."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `eightfold system`.

    Attributes:
        name: what it is about.
        value: what was found.
        meaning: what follows from that, in a sentence; empty where nothing does.
        warning: whether something should be done about it.
    """

    name: str
    value: str
    meaning: str = ""
    warning: bool = False
