"""Weights as signed 8-bit codes, one scale for each output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array

__all__ = ["Weight", "quantize_weight"]


@dataclass(frozen=True)
class Weight:
    """A quantized weight.

    Attributes:
        codes: int8, in the shape of the weight.
        limit: float32 [C], or [1] for one scale: what code 127 stands for; this is the range given to the kernels.
        axes: the axes of `codes` that make up the output channels.
    """

    codes: Array
    limit: Array
    axes: tuple[int, ...]

    @property
    def scale(self) -> Array:
        """float64 [C] or [1]: what one step stands for."""
        return self.limit.astype(np.float64) / 127

    @property
    def real(self) -> Array:
        """float64: the numbers that the kernels multiply by."""
        shape = [size if axis in self.axes else 1 for axis, size in enumerate(self.codes.shape)]
        scale = np.broadcast_to(self.scale, int(np.prod(shape))).reshape(shape)
        real: Array = self.codes * scale
        return real

    def doubled(self) -> Weight:
        """The same numbers as codes twice as large.

        Raises:
            ValueError: they have more than 7 bits.
        """
        if np.abs(self.codes.astype(np.int16)).max(initial=0) > 63:
            raise ValueError("the codes have more than 7 bits: twice as large they would not fit 8")
        return Weight(self.codes * np.int8(2), self.limit / np.float32(2), self.axes)

    def channel_sums(self) -> Array:
        """float64 [C]: the sum of each output channel's weights, by which an offset of the input enters the bias."""
        others = tuple(axis for axis in range(self.codes.ndim) if axis not in self.axes)
        sums: Array = self.real.sum(axis=others).reshape(-1)
        return sums


def quantize_weight(weight: Array, axes: tuple[int, ...], *, per_channel: bool = True, bits: int = 8) -> Weight:
    """Rounds a float weight to codes of -(2^(bits-1)-1) .. 2^(bits-1)-1.

    Args:
        weight: float, any shape.
        axes: the axes that make up the output channels.
        per_channel: one scale an output channel; otherwise one for all.
        bits: 8, or 7 where the CPU's 8-bit sums would saturate. The codes are those of 8 bits, the larger half unused.
    """
    top = 2 ** (bits - 1) - 1
    others = tuple(axis for axis in range(weight.ndim) if axis not in axes)
    largest = np.abs(weight).max(axis=others if per_channel else None, keepdims=True).astype(np.float64)
    largest[largest == 0] = 1.0
    limit = (largest / top * 127).astype(np.float32)
    codes = np.clip(np.rint(weight / (limit.astype(np.float64) / 127)), -top, top).astype(np.int8)
    return Weight(codes, limit.reshape(-1), axes)
