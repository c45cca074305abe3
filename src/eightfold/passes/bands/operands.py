"""What the inputs of the 8-bit kernels are: images, constants of each channel, and the window that slides."""

from __future__ import annotations

from collections.abc import Mapping

from eightfold.graph.ir import Array, DType, Graph, Node
from eightfold.graph.reference.window import Window, window_of
from eightfold.rewrites.kernels import CONV, DEPTHWISE

__all__ = [
    "CONVOLUTIONS",
    "PADS",
    "POOLS",
    "channel_constants",
    "filter_of",
    "fuses",
    "images_read",
    "joins_channels",
    "plain",
    "window",
]

CONVOLUTIONS = (CONV, DEPTHWISE)
POOLS = ("QuantizedAvgPool", "QuantizedMaxPool")
PADS = ("Pad", "PadV2")

_SUMMAND = 3
"""The input position of the summand: after data, filter and bias."""


def plain(dtype: DType) -> DType:
    """The type of the numbers that codes are held as: uint8 for quint8."""
    return DType(dtype.removeprefix("q"))


def fuses(node: Node, op: str) -> bool:
    """Whether a convolution has another op, such as `Requantize`, fused into it."""
    return op.encode() in node.attrs.get("fused_ops", ())


def images_read(node: Node) -> tuple[int, ...]:
    """The input positions of images; all other inputs are read whole."""
    if node.op == "ConcatV2":
        return tuple(range(len(node.inputs) - 1))
    return (0, _SUMMAND) if fuses(node, "Sum") else (0,)


def joins_channels(graph: Graph, node: Node) -> bool:
    """Whether a concat sets images side by side in their channels."""
    axis = graph.constant(node.inputs[-1])
    return axis is not None and int(axis) in (3, -1)


def filter_of(graph: Graph, node: Node) -> Array | None:
    """The filter [h, w, I, O] of a convolution, if it is constant."""
    return graph.constant(node.inputs[1])


def window(graph: Graph, node: Node) -> Window | None:
    """The window of a convolution or pool over [N, H, W, C]; None where it is none, or not known before the run."""
    size = _window_size(graph, node)
    strides = node.attrs.get("strides", (1, 1, 1, 1))
    over_images = node.attrs.get("data_format", b"NHWC") == b"NHWC" and strides[0] == strides[3] == 1
    return window_of(node, size) if size is not None and over_images else None


def _window_size(graph: Graph, node: Node) -> tuple[int, int] | None:
    if node.op in POOLS:
        size = node.attrs["ksize"]
        return (size[1], size[2]) if size[0] == size[3] == 1 else None
    weight = filter_of(graph, node) if node.op in CONVOLUTIONS else None
    return None if weight is None else (weight.shape[0], weight.shape[1])


def channel_constants(node: Node) -> Mapping[int, int]:
    """By input position, the axis of output channels: filter, bias and the filter's range of a fused convolution.

    For one that fuses a BiasAdd, depthwise only with one filter for each channel.
    """
    ranges = len(node.attrs["Tdevice_inputs"])  # those of the input come first
    return {1: 2 if node.op == DEPTHWISE else 3, 2: 0, ranges + 2: 0, ranges + 3: 0}
