"""Where to cut a histogram before it is coded in 8 bits: the KL and the MSE search.

Both answer with a window (lower, upper) in bins; the values outside are clipped to its ends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eightfold.calibration.histogram import BINS, Floats, Histogram

__all__ = ["Window", "kl_window", "mse_window", "squared_errors"]

Window = tuple[float, float]

_SMOOTHING = 1e-4
"""Probability given to a level that the quantized distribution leaves empty but the reference does not."""

_SMALLEST = 1 / 128
"""The tightest clip that the MSE search tries, as a share of the range: 16 bins."""

_COARSE = np.geomspace(_SMALLEST, 1.0, 48)
_RATIO = float(_COARSE[1] / _COARSE[0])
_FINE = (np.geomspace(1 / _RATIO, _RATIO, 13), np.geomspace(_RATIO ** (-1 / 6), _RATIO ** (1 / 6), 13))
"""The grids of the MSE search: factors of the range, then factors of the best factor so far."""

_CLIPPED = 16.0
"""How much a squared error of clipping weighs against one of rounding in the MSE search. A sum of products averages
rounding out, but not clipping: it has one sign, and strikes the largest values of a channel side by side. With 1, a
ResNet-50 with seeded weights loses 11 dB against no clipping at all; with 16 it loses nothing, and what trained nets
gain by clipping stays."""

_MIN_GAIN = 0.01
"""Clipping must lower the expected error by this share, or by 1/sqrt(values) if there are few values; less is
within the error of a mean over a histogram."""

_MIN_KEPT = 0.5
"""The share of the values that the KL search must leave unclipped. Where values lie far from zero, a window
that clips them all to its last bin would otherwise match its reference perfectly."""

_CHUNK = 128
"""Windows to a block of the KL search: its arrays then stay in the cache."""


def kl_window(histogram: Histogram, levels: int) -> Window:
    """The window whose quantized distribution loses the least information.

    For each threshold T, in bins from zero, the reference P is the histogram inside [-T, T] with what lies
    outside added to its first and last bin. The candidate Q is the same histogram *without* the outside,
    merged into `levels` levels and spread again over the bins that P fills. The T of the smallest KL(P || Q)
    wins. The excess at zero is left out: with it, a ReLU's zeros outweigh the loss of everything else.

    Args:
        histogram: spans zero; the histogram of |x| to search a symmetric threshold.
        levels: codes that the window is divided into: 256, or 128 for magnitudes of a signed code.

    Source: S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference, 2017.
    """
    body, _ = histogram.split_zero_spike()
    if body.sum() == 0:
        return 0.0, float(BINS)
    reach = np.arange(1, BINS + 1)
    start = np.maximum(np.floor(histogram.zero - reach), 0).astype(np.int64)
    stop = np.minimum(np.ceil(histogram.zero + reach), BINS).astype(np.int64)
    windows = np.unique(np.stack([start, stop], axis=1), axis=0)
    mass = _running(body)
    kept = mass[windows[:, 1]] - mass[windows[:, 0]]
    windows = windows[(windows[:, 1] - windows[:, 0] >= levels) & (kept >= _MIN_KEPT * mass[-1])]
    blocks = np.array_split(windows, range(_CHUNK, len(windows), _CHUNK))
    divergences = [_divergences(body, block[:, 0], block[:, 1], levels) for block in blocks]
    lower, upper = windows[np.argmin(np.concatenate(divergences))]
    return float(lower), float(upper)


def _divergences(counts: Floats, start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64], levels: int) -> Floats:
    """KL(P || Q) in nats for every window [start, stop) of a histogram.

    Q is constant over the filled bins of a level, so sum(p log q) needs only three sums a level. These are
    differences of running sums: many windows are done at once, in O(windows x levels), not O(windows x bins).
    """
    mass, filled, entropy = (_running(x) for x in (counts, counts > 0, _xlogx(counts)))
    before, after = mass[start], mass[-1] - mass[stop]
    first, last = counts[start], counts[stop - 1]
    edges = start[:, None] + np.arange(levels + 1) * (stop - start)[:, None] // levels

    kept = np.diff(mass[edges], axis=1)
    reference = kept.copy()
    reference[:, 0] += before
    reference[:, -1] += after
    bins = np.diff(filled[edges], axis=1)
    bins[:, 0] += (first == 0) & (before > 0)
    bins[:, -1] += (last == 0) & (after > 0)

    quantized = kept / kept.sum(axis=1, keepdims=True)
    quantized[(kept == 0) & (reference > 0)] = _SMOOTHING
    quantized /= quantized.sum(axis=1, keepdims=True)
    log_q = np.log(np.where(reference > 0, quantized, 1.0) / np.maximum(bins, 1.0))

    inner = entropy[stop] - entropy[start] - _xlogx(first) - _xlogx(last)
    p_log_p = (inner + _xlogx(first + before) + _xlogx(last + after)) / mass[-1] - np.log(mass[-1])
    return np.asarray(p_log_p - (reference * log_q).sum(axis=1) / mass[-1])


def _running(values: npt.NDArray[np.float64 | np.bool_]) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))


def _xlogx(x: Floats) -> Floats:
    return x * np.log(np.where(x > 0, x, 1.0))


def mse_window(histogram: Histogram, steps: int, *, symmetric: bool) -> Window:
    """The window of the smallest expected squared error, clipping and rounding together, clipping with its weight.

    Both ends are first drawn towards zero by one common factor, then one after the other, first over a coarse
    geometric grid and then over finer ones around the best. A symmetric window has only the common factor.

    Args:
        histogram: spans zero.
        steps: steps between the first and the last code: 255, or 254 for the codes -127..127.
        symmetric: whether the window must be symmetric about zero.

    Sources: R. Banner, Y. Nahshan, D. Soudry, "Post Training 4-bit Quantization of Convolutional Networks for
    Rapid-Deployment", NeurIPS 2019 (the trade of clipping against rounding error); Y. Choukroun, E. Kravchik,
    F. Yang, P. Kisilev, "Low-bit Quantization of Neural Networks for Efficient Inference", ICCV Workshops
    2019 (the search over the measured distribution instead of a fitted one).
    """
    zero = histogram.zero
    below, above = max(zero, 0.0), max(BINS - zero, 0.0)
    if symmetric:
        below = above = max(below, above)
    search = _MseSearch(histogram, below, above, steps)
    search.try_factors(_COARSE, lower=True, upper=True)
    ends = [(True, True)]
    if below and above and not symmetric:
        ends = [(False, True), (True, False)] * 2
        for lower, upper in ends:
            search.try_factors(_COARSE, lower=lower, upper=upper)
    for grid in _FINE:
        for lower, upper in ends:
            around = grid * search.best[0 if lower else 1]
            search.try_factors(np.clip(around, _SMALLEST, 1.0), lower=lower, upper=upper)
    gain = max(_MIN_GAIN, 1 / np.sqrt(histogram.counts.sum()))
    a, b = search.best if search.error < (1 - gain) * search.full_error else (1.0, 1.0)
    return float(zero - a * below), float(zero + b * above)


class _MseSearch:
    """The best pair of factors found so far, and its error."""

    def __init__(self, histogram: Histogram, below: float, above: float, steps: int) -> None:
        self._histogram, self._reach, self._steps = histogram, np.array([below, above]), steps
        self.best = np.ones(2)
        self.error = self.full_error = float(self._errors(self.best[None])[0])

    def try_factors(self, factors: Floats, *, lower: bool, upper: bool) -> None:
        """Tries factors for one end or both; keeps the best of them if it is better."""
        pairs = np.repeat(self.best[None], factors.size, axis=0)
        pairs[:, np.flatnonzero([lower, upper])] = factors[:, None]
        errors = self._errors(pairs)
        index = int(np.argmin(errors))
        if errors[index] < self.error:
            self.best, self.error = pairs[index], float(errors[index])

    def _errors(self, pairs: Floats) -> Floats:
        reach = pairs * self._reach
        zero = self._histogram.zero
        return squared_errors(self._histogram, zero - reach[:, 0], zero + reach[:, 1], self._steps)


def squared_errors(histogram: Histogram, lower: Floats, upper: Floats, steps: int, clipped: float = _CLIPPED) -> Floats:
    """The expected squared error of coding a tensor over each window, in squared bins: float64[windows].

    What is clipped counts `clipped` times.

    The quantizer clips to [lower, upper] and rounds to the nearest of `steps` + 1 codes. Its squared error is
    integrated exactly over every bin, with the bin's values spread evenly: a bin that rounds to one code
    gives the error of its centre plus the variance inside it, and step^2/12 comes out only where bins are
    wider than many steps. The excess at zero is not spread over its bin, but counts as exact zeros.

    Args:
        histogram: the tensor's values.
        lower, upper: float64[windows], the windows' ends in bins, lower < upper.
        steps: steps between the first and the last code.
        clipped: the weight of the error of values outside the window.
    """
    body, spike = histogram.split_zero_spike()
    used = np.flatnonzero(body)
    edges = np.arange(used[0], used[-1] + 2, dtype=np.float64) if used.size else np.array([0.0])
    integral = np.diff(_error_integral(edges, lower[:, None], upper[:, None], steps, clipped), axis=1)
    step = (upper - lower) / steps
    zero_code = np.clip(np.rint((histogram.zero - lower) / step), 0, steps)
    zero_error = lower + zero_code * step - histogram.zero
    total = integral @ body[used[0] : used[-1] + 1] if used.size else np.zeros_like(lower)
    return np.asarray((total + spike * zero_error**2) / (body.sum() + spike))


def _error_integral(x: Floats, lower: Floats, upper: Floats, steps: int, clipped: float) -> Floats:
    """The integral of (t - coded(t))^2 from `lower` to x; a full cell of a code adds step^3/12."""
    step = (upper - lower) / steps
    inside = np.clip(x, lower, upper)
    beyond = x - inside
    u = (inside - lower) / step
    code = np.rint(u)
    u -= code
    return np.asarray(step**3 * (code / 12 + u * u * u / 3) + clipped * beyond * beyond * beyond / 3)
