"""The geometry of convolutions and poolings over images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, Node

__all__ = ["Window", "window_of"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window that slides over the height and width of [N, H, W, C].

    Attributes:
        size, stride, dilation: (height, width), in elements.
        padding: `SAME`, `VALID` or `EXPLICIT`.
        explicit: (top, bottom), (left, right) for `EXPLICIT`.
    """

    size: Pair
    stride: Pair
    dilation: Pair
    padding: str
    explicit: tuple[Pair, Pair] = ((0, 0), (0, 0))

    def pads(self, height: int, width: int) -> tuple[Pair, Pair]:
        """Elements added (before, after) in height and width."""
        if self.padding != "SAME":
            return self.explicit
        first, second = (self._same(axis, length) for axis, length in enumerate((height, width)))
        return first, second

    def _same(self, axis: int, length: int) -> Pair:
        steps = -(-length // self.stride[axis])
        total = max((steps - 1) * self.stride[axis] + self._reach(axis) - length, 0)
        return total // 2, total - total // 2

    def _reach(self, axis: int) -> int:
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def taps(self, x: Array, fill: float) -> Iterator[tuple[int, int, Array]]:
        """For each place (i, j) in the window, the elements [N, H', W', C] that it meets as it slides.

        Args:
            x: [N, H, W, C].
            fill: what the padding holds.
        """
        padded = np.pad(x, ((0, 0), *self.pads(*x.shape[1:3]), (0, 0)), constant_values=fill)
        spans = [
            (padded.shape[axis + 1] - self._reach(axis)) // self.stride[axis] * self.stride[axis] + 1 for axis in (0, 1)
        ]
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                top, left = i * self.dilation[0], j * self.dilation[1]
                rows = slice(top, top + spans[0], self.stride[0])
                columns = slice(left, left + spans[1], self.stride[1])
                yield i, j, padded[:, rows, columns, :]


def window_of(node: Node, size: Pair) -> Window:
    """The window of a convolution or pooling node, given its height and width.

    Raises:
        ModelError: the data is not NHWC, or strides over batch or channels.
    """
    layout = node.attrs.get("data_format", b"NHWC")
    if layout != b"NHWC":
        raise ModelError(f"node {node.name!r}: the NumPy reference knows NHWC only, received {layout.decode()}")
    strides = node.attrs["strides"]
    if strides[0] != 1 or strides[3] != 1:
        raise ModelError(f"node {node.name!r} strides over batch or channels: {strides}")
    dilations = node.attrs.get("dilations") or (1, 1, 1, 1)
    pads = node.attrs.get("explicit_paddings") or (0,) * 8
    return Window(
        size,
        (strides[1], strides[2]),
        (dilations[1], dilations[2]),
        node.attrs["padding"].decode(),
        ((pads[2], pads[3]), (pads[4], pads[5])),
    )
