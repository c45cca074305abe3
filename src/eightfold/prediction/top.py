"""The highest classes of a classifier's scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eightfold.data.spec import InputSpec
from eightfold.errors import ModelError
from eightfold.graph.ir import Array

__all__ = ["check_scores", "top"]


def top(outputs: Mapping[str, Array], count: int) -> dict[str, Array]:
    """The `count` highest classes of each output and their scores, highest first; of equal scores the first class.

    Args:
        outputs: scores by output name, of shape [rows, classes].
        count: how many; no more than there are classes.

    Returns:
        `class`, int32[rows, count], and `score`; with the output's name before them where there are several outputs.

    Raises:
        ModelError: an output is no vector of scores.
    """
    found: dict[str, Array] = {}
    for name, scores in outputs.items():
        check_scores(InputSpec(name, scores.dtype.name, scores.shape))
        prefix = f"{name}_" if len(outputs) > 1 else ""
        found[f"{prefix}class"] = order = _highest(scores, min(count, scores.shape[1]))
        found[f"{prefix}score"] = np.take_along_axis(scores, order, axis=1)
    return found


def check_scores(output: InputSpec) -> None:
    """Raises `ModelError` for an output that is, as far as is known, no vector of scores."""
    if output.rank not in (2, None) or output.dtype in ("string", "bool", "object"):
        raise ModelError(
            f"the highest classes are taken from scores of shape [rows, classes], and the output is {output}; "
            "choose outputs with --outputs"
        )


def _highest(scores: Array, count: int) -> Array:
    """For each row the numbers of its highest scores; NaN counts as lower than all."""
    known = np.where(np.isnan(scores), -np.inf, scores) if scores.dtype.kind == "f" else scores.astype(np.float64)
    found = np.argpartition(-known, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(known, found, axis=1)
    found = np.take_along_axis(found, np.lexsort((found, -values), axis=1), axis=1)
    # Of several that are equal to the lowest of the highest, a partition takes any.
    doubtful = (known >= values.min(axis=1, keepdims=True)).sum(axis=1) > count
    found[doubtful] = np.argsort(-known[doubtful], axis=1, kind="stable")[:, :count]
    highest: Array = found.astype(np.int32)
    return highest
