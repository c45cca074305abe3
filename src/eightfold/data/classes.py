"""Numbers and names of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from eightfold.data.decoding import Decoded
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["numbered"]

NAMED = 5
"""How many examples a message names."""


def numbered(decoded: Decoded, classes: Sequence[str] | None = None) -> tuple[Array, tuple[str, ...]]:
    """The class of each picture as a number, int64 [n], and the names of the classes by number.

    Names in the data are numbered in the order in which they are sorted; numbers are taken as they are.

    Args:
        decoded: with labels that are all names, or all whole numbers from 0 on.
        classes: the names that are expected, where they are known.

    Raises:
        DataError: no picture, or none of a class, could be read; there is one class; a label is none of `classes`; or
            labels are neither names nor such numbers.
    """
    _check_readable(decoded)
    labels = decoded.labels
    if all(isinstance(label, str) for label in labels):
        names = tuple(sorted(set(labels))) if classes is None else tuple(classes)
        numbers = _of_names(labels, names)
    else:
        numbers = _of_numbers(labels)
        names = tuple(map(str, range(max(numbers) + 1))) if classes is None else tuple(classes)
    if len(set(names)) < len(names):
        raise DataError(f"the names of the classes are not all different: {', '.join(names)}")
    if max(numbers) >= len(names):
        raise DataError(f"the labels go up to {max(numbers)}; expected numbers below {len(names)}, of {_some(names)}")
    if classes is None and len(set(numbers)) < 2:
        raise DataError(f"all pictures are of the class '{names[numbers[0]]}'; expected two classes or more")
    return np.array(numbers, np.int64), names


def _check_readable(decoded: Decoded) -> None:
    total = len(decoded.skipped) + len(decoded.labels)
    if not total:
        raise DataError("the data set is empty: it has no examples")
    if not decoded.labels and all(one.label is None for one in decoded.skipped):
        raise DataError(f"none of {total} pictures has a label; expected the class of each")
    bad = Counter(one.label for one in decoded.skipped if one.label is not None)
    readable = set(decoded.labels)
    lost = [label for label in bad if label not in readable]
    if not decoded.labels or lost:
        first = next(one for one in decoded.skipped if not lost or one.label == lost[0])
        what = f"of the {bad[lost[0]]} pictures of class '{lost[0]}'" if decoded.labels else f"of {total} pictures"
        raise DataError(f"none {what} can be read; expected some; the first is {first.name}: {first.reason}")


def _of_names(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    number = {name: at for at, name in enumerate(names)}
    if unknown := sorted(set(labels) - set(number)):
        raise DataError(f"the data has classes that are not expected: {_some(unknown)}; expected {_some(names)}")
    return [number[label] for label in labels]


def _of_numbers(labels: Sequence[Any]) -> list[int]:
    wrong = [label for label in labels if not _counts(label)]
    if wrong:
        raise DataError(f"labels must be whole numbers from 0 on, or names, one for each picture; received {wrong[0]}")
    return [int(label) for label in labels]


def _counts(label: Any) -> bool:
    return isinstance(label, (int, float)) and label >= 0 and float(label).is_integer()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
