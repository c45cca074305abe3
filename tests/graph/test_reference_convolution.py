"""Float convolutions of the reference against TensorFlow, over their whole geometry."""

from __future__ import annotations

import numpy as np
from geometry import Geometry, geometries
from hypothesis import given
from hypothesis import strategies as st
from one_op import FLOAT, compare

CHANNELS = st.integers(1, 6)


@given(geometry=geometries(), channels=CHANNELS, filters=CHANNELS, seed=st.integers(0, 99))
def test_convolution(geometry: Geometry, channels: int, filters: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal(geometry.input_shape(channels)).astype(np.float32)
    weight = random.standard_normal((*geometry.size, channels, filters)).astype(np.float32)
    compare("Conv2D", x, parameters=[weight], T=FLOAT, use_cudnn_on_gpu=True, **geometry.attrs)


@given(geometry=geometries(dilated=False, square=True), channels=CHANNELS, multiplier=st.integers(1, 3))
def test_depthwise_convolution(geometry: Geometry, channels: int, multiplier: int) -> None:
    random = np.random.default_rng(channels)
    x = random.standard_normal(geometry.input_shape(channels)).astype(np.float32)
    weight = random.standard_normal((*geometry.size, channels, multiplier)).astype(np.float32)
    compare("DepthwiseConv2dNative", x, parameters=[weight], T=FLOAT, **geometry.attrs)


def test_grouped_convolution() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 7, 7, 6)).astype(np.float32)
    weight = random.standard_normal((3, 3, 2, 9)).astype(np.float32)
    attrs = {"strides": (1, 2, 2, 1), "padding": b"SAME", "dilations": (1, 1, 1, 1), "data_format": b"NHWC"}
    compare("Conv2D", x, parameters=[weight], T=FLOAT, explicit_paddings=(), **attrs)
