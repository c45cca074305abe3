"""Rounds weights so that what they compute is closest, by linear algebra alone.

Rounding to nearest makes each weight's own error smallest. What counts is the error of the result: for rows x and an
error e of the weights that is E[(x · e)²] = eᵀHe with H = E[xᵀx]. Where the elements of x are correlated, errors of one
weight can make up for those of another. The codes that minimize eᵀHe are the closest point of a lattice, which is hard
to find; two cheap methods one after the other come near:

1. *Nearest plane*: weight after weight is rounded, and those to come make up for its error. This is GPTQ (E. Frantar et
   al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022, arXiv:2210.17323) in
   the form of Babai's algorithm (J. Chen et al., "The Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane
   Algorithm", 2025, arXiv:2507.18553), which needs one Cholesky decomposition and no inverse.
2. *Coordinate descent*: each code becomes the best one while all others stay, until none changes (K. Behdin et al.,
   "QuantEase: Optimization-based Quantization for Language Models", 2023, arXiv:2309.01885).

The objective is that of AdaRound (M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization",
2020, arXiv:2004.10568, eq. 20); codes may move by more than one step here, and nothing is drawn at random.
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.ir import Array

__all__ = ["learned_codes", "squared_error"]

_DAMPING = 0.03
"""Added to the diagonal of H, as a share of its mean. GPTQ takes 0.01, which is as good with many rows; with no more
than K of them, 0.03 does better on data not seen."""

_BLOCK = 64
"""Weights that are rounded one by one before a matrix product tells all others of it."""

_SWEEPS = 10
"""Coordinate descent ends after so many rounds at the latest. Most layers need 3 to 7."""


def learned_codes(weight: Array, moment: Array, top: int) -> Array:
    """The codes for which the result of a product is closest to that of its float weights.

    Args:
        weight: [..., K, O], in steps: what rounding to nearest would round.
        moment: [..., K, K], symmetric: the second moment, or the covariance, of the rows that the weight is multiplied
            with. Leading axes are independent problems: the channels of a depthwise convolution.
        top: the codes are -top .. top.

    Returns:
        int8 [..., K, O]. For no output channel is the squared error larger than with rounding to nearest.
    """
    nearest = np.clip(np.rint(weight), -top, top)
    strength = np.diagonal(moment, axis1=-2, axis2=-1)
    order = np.argsort(strength, axis=-1, kind="stable")[..., np.newaxis]  # what counts most is rounded first: the last
    ordered, damped = np.take_along_axis(weight, order, -2), _damped(moment, order)
    found = _descended(ordered, damped, _nearest_plane(ordered, damped, top), top)
    codes = np.empty_like(nearest)
    np.put_along_axis(codes, order, found, -2)
    better = squared_error(moment, weight - codes) < squared_error(moment, weight - nearest)
    return np.where(better[..., np.newaxis, :], codes, nearest).astype(np.int8)


def squared_error(moment: Array, error: Array) -> Array:
    """eᵀHe for each column of an error [..., K, O]: [..., O]."""
    result: Array = np.sum(error * (moment @ error), axis=-2)
    return result


def _damped(moment: Array, order: Array) -> Array:
    """H in the order [..., K, 1], its diagonal enlarged: positive definite, and few rows are not believed too much."""
    damped: Array = np.take_along_axis(np.take_along_axis(moment, order, -2), np.swapaxes(order, -1, -2), -1)
    diagonal = np.einsum("...ii->...i", damped)  # a view
    mean = diagonal.mean(axis=-1, keepdims=True)
    diagonal += np.where(mean > 0, _DAMPING * mean, 1.0)
    return damped


def _nearest_plane(weight: Array, moment: Array, top: int) -> Array:
    """Rounds from the last weight to the first, each to what is best if those before it could still be anything."""
    size = weight.shape[-2]
    lower = np.linalg.cholesky(moment)
    lower /= np.diagonal(lower, axis1=-2, axis2=-1)[
        ..., np.newaxis, :
    ]  # column i: what weight i takes over from others
    codes, error = np.empty_like(weight), np.empty_like(weight)
    for stop in range(size, 0, -_BLOCK):
        block = slice(max(stop - _BLOCK, 0), stop)
        wanted = weight[..., block, :] + np.swapaxes(lower[..., stop:, block], -1, -2) @ error[..., stop:, :]
        for i in reversed(range(block.start, stop)):
            row = wanted[..., i - block.start, :]
            codes[..., i, :] = np.clip(np.rint(row), -top, top)
            error[..., i, :] = weight[..., i, :] - codes[..., i, :]
            taken = lower[..., i, block.start : i, np.newaxis] * error[..., i, np.newaxis, :]
            wanted[..., : i - block.start, :] += taken
    return codes


def _descended(weight: Array, moment: Array, codes: Array, top: int) -> Array:
    """Makes each code the best one while all others stay, round after round, until none changes."""
    size = weight.shape[-2]
    codes, error = codes.copy(), weight - codes
    for _ in range(_SWEEPS):
        before = codes.copy()
        for start in range(0, size, _BLOCK):
            block = slice(start, min(start + _BLOCK, size))
            slope = moment[..., block, :] @ error
            for i in range(block.start, block.stop):
                better = codes[..., i, :] + slope[..., i - start, :] / moment[..., i, i, np.newaxis]
                change = np.clip(np.rint(better), -top, top) - codes[..., i, :]
                if change.any():
                    codes[..., i, :] += change
                    error[..., i, :] -= change
                    slope -= moment[..., block, i, np.newaxis] * change[..., np.newaxis, :]
        if np.array_equal(codes, before):
            break
    return codes
