"""Observers that clip rare values to give finer steps to all others, on the evidence of a histogram."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from eightfold.calibration.clipping import kl_window, mse_window
from eightfold.calibration.extremes import Encoding, MinMaxObserver, within
from eightfold.calibration.histogram import BINS, Histogram
from eightfold.errors import DataError, RecipeError
from eightfold.graph.ranges import Range

__all__ = ["HistogramObserver", "KLObserver", "MSEObserver", "PercentileObserver"]

_ONE_POINT = 1e-6
"""Values closer together than this, relative to their size, are one point in float32: nothing to clip."""


class HistogramObserver(MinMaxObserver, ABC):
    """Sums the histograms of all batches and asks `_clip` where to cut the sum."""

    needs_histogram: ClassVar[bool] = True

    def __init__(self, *, encoding: Encoding = "affine") -> None:
        super().__init__(encoding=encoding)
        self._counts = np.zeros(BINS, np.int64)
        self._has_histogram = False

    def update(self, lo: float, hi: float) -> None:
        """Takes the smallest and the largest value of a batch.

        Raises:
            DataError: a value is NaN or infinite, or a histogram of a narrower range was already added.
        """
        before = self._seen
        super().update(lo, hi)
        if self._has_histogram and self._seen != before:
            raise DataError(f"the histograms were taken over {before}, and then a batch of [{lo}, {hi}] came")

    def add_histogram(self, counts: npt.NDArray[np.integer[Any]]) -> None:
        """Adds the counts of a batch: int[BINS] over `seen`.

        Raises:
            DataError: another shape or dtype, or a negative count.
        """
        counts = np.asarray(counts)
        if counts.shape != (BINS,) or not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
            raise DataError(
                f"a histogram must be {BINS} integer counts of at least 0, received {counts.dtype} "
                f"of shape {counts.shape}"
            )
        self._counts += counts.astype(np.int64)
        self._has_histogram = True

    def range(self) -> Range:
        """The clipped range, with zero inside.

        Raises:
            DataError: no batch, or no histogram, was received.
        """
        seen = self.seen
        if seen.hi - seen.lo <= _ONE_POINT * seen.magnitude:
            return seen.including_zero()
        if not self._counts.any():
            raise DataError(f"the {self.name} observer needs a histogram of each batch, received none")
        return within(seen, *self._clip(Histogram(self._counts.astype(np.float64), seen)))

    @abstractmethod
    def _clip(self, histogram: Histogram) -> tuple[float, float]:
        """The bounds to clip to, for a histogram over all that was seen."""


class PercentileObserver(HistogramObserver):
    """Cuts the largest (100 - percentile) % of the values, and as many of the smallest.

    A tensor without negative values is cut above only, one without positive values below only, and for the
    symmetric encoding the percentile is that of |x|.

    Sources: J. McKinstry et al., "Discovering Low-Precision Networks Close to Full-Precision Networks for
    Efficient Embedded Inference", 2018; H. Wu et al., "Integer Quantization for Deep Learning Inference:
    Principles and Empirical Evaluation", 2020 (99.99 %).
    """

    name: ClassVar[str] = "percentile"

    def __init__(self, *, percentile: float = 99.99, encoding: Encoding = "affine") -> None:
        super().__init__(encoding=encoding)
        if not 50 < percentile <= 100:
            raise RecipeError(f"percentile must be above 50 and at most 100, received {percentile!r}")
        self.percentile = percentile

    def _clip(self, histogram: Histogram) -> tuple[float, float]:
        share = self.percentile / 100
        if self.encoding == "symmetric":
            reach = histogram.magnitudes().quantile(share)
            return -reach, reach
        lo = histogram.quantile(1 - share) if histogram.span.lo < 0 else 0.0
        hi = histogram.quantile(share) if histogram.span.hi > 0 else 0.0
        return lo, hi


class KLObserver(HistogramObserver):
    """Clips where the Kullback-Leibler divergence of the coded from the true distribution is smallest.

    The same threshold holds for both signs; the affine encoding still uses all 256 codes between the bounds.
    The tightest clip is 1/8 of the range seen (1/16 for the symmetric encoding): one bin to a code.

    Source: S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference, 2017.
    """

    name: ClassVar[str] = "kl"

    def _clip(self, histogram: Histogram) -> tuple[float, float]:
        if self.encoding == "symmetric":
            magnitudes = histogram.magnitudes()
            reach = magnitudes.value(kl_window(magnitudes, levels=128)[1])
            return -reach, reach
        histogram = histogram.including_zero()
        lower, upper = kl_window(histogram, levels=256)
        return histogram.value(lower), histogram.value(upper)


class MSEObserver(HistogramObserver):
    """Clips where the expected squared error of clipping and rounding together is smallest.

    Sources: R. Banner, Y. Nahshan, D. Soudry, "Post Training 4-bit Quantization of Convolutional Networks for
    Rapid-Deployment", NeurIPS 2019; Y. Choukroun, E. Kravchik, F. Yang, P. Kisilev, "Low-bit Quantization of
    Neural Networks for Efficient Inference", ICCV Workshops 2019.
    """

    name: ClassVar[str] = "mse"

    def _clip(self, histogram: Histogram) -> tuple[float, float]:
        histogram = histogram.including_zero()
        symmetric = self.encoding == "symmetric"
        lower, upper = mse_window(histogram, 254 if symmetric else 255, symmetric=symmetric)
        return histogram.value(lower), histogram.value(upper)
