"""Hypothesis strategies for the geometry of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from eightfold.graph.ir import Attr


@dataclass(frozen=True)
class Geometry:
    """A convolution's window, and an image that it fits."""

    image: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    explicit: tuple[int, int, int, int]
    batch: int = 2

    def input_shape(self, channels: int) -> tuple[int, int, int, int]:
        return (self.batch, *self.image, channels)

    def output_shape(self, channels: int) -> tuple[int, int, int, int]:
        top, bottom, left, right = self.explicit if self.padding == "EXPLICIT" else (0, 0, 0, 0)
        return (self.batch, self._length(0, top + bottom), self._length(1, left + right), channels)

    def _length(self, axis: int, padding: int) -> int:
        if self.padding == "SAME":
            return -(-self.image[axis] // self.stride[axis])
        reach = (self.size[axis] - 1) * self.dilation[axis] + 1
        return (self.image[axis] + padding - reach) // self.stride[axis] + 1

    @property
    def attrs(self) -> dict[str, Attr]:
        return {
            "strides": (1, *self.stride, 1),
            "dilations": (1, *self.dilation, 1),
            "padding": self.padding.encode(),
            "explicit_paddings": (0, 0, *self.explicit, 0, 0) if self.padding == "EXPLICIT" else (),
            "data_format": b"NHWC",
        }


@st.composite
def geometries(draw: st.DrawFn, *, dilated: bool = True, square: bool = False) -> Geometry:
    """Windows of 1 to 3 by 1 to 3 with every kind of padding.

    Args:
        draw: given by hypothesis.
        dilated: whether some are dilated; these have stride 1.
        square: whether strides are the same in both directions.
    """
    size = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2))) if dilated else (1, 1)
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2))) if dilation == (1, 1) else (1, 1)
    image = draw(st.integers(5, 10)), draw(st.integers(5, 10))
    padding = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"]))
    pads = st.integers(0, min(size) - 1)
    explicit = draw(pads), draw(pads), draw(pads), draw(pads)
    return Geometry(image, size, (stride[0],) * 2 if square else stride, dilation, padding, explicit)
