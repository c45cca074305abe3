"""One score for each example: binary classifiers, and recommenders that take a user and an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["Scored", "is_pointwise", "joined", "scored"]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Some examples.

    Attributes:
        scores: float64[n].
        relevance: what the labels say of them, float64[n].
        groups: whose examples they are (the user, the query), int64[n]; None where the labels do not say.
    """

    scores: Array
    relevance: Array
    groups: Array | None


def is_pointwise(outputs: Array) -> bool:
    """Whether the outputs are float[n] or float[n, 1]."""
    return outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1)


def scored(outputs: Array, labels: Array, name: str) -> Scored:
    """One batch of scores [n] or [n, 1], with labels [n] or [n, 1], or [n, 2] of label and group.

    Raises:
        DataError: they do not fit each other; `name` is the metric, for the message.
    """
    n = len(outputs)
    if labels.shape not in ((n,), (n, 1), (n, 2)) or labels.dtype.kind not in "biuf":
        raise DataError(
            f"{name} needs labels [{n}], or [{n}, 2] of label and group, for scores {list(outputs.shape)}, and they "
            f"are {labels.dtype}{list(labels.shape)}"
        )
    columns = labels.reshape(n, -1).astype(np.float64)
    groups = columns[:, 1].astype(np.int64) if columns.shape[1] == 2 else None
    if groups is not None and not np.array_equal(groups, columns[:, 1]):
        raise DataError(f"{name} needs whole numbers as groups, in the second column of the labels")
    return Scored(outputs.reshape(n).astype(np.float64), columns[:, 0], groups)


def joined(parts: list[Scored]) -> Scored:
    """All examples; without groups where some have none."""
    groups = [part.groups for part in parts if part.groups is not None]
    return Scored(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.relevance for part in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )
