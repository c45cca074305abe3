"""Float nets of a few layers, lowered to 8 bits and cut in bands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eightfold.graph.ir import Array, DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.passes.bands import in_bands
from lowering import outputs_of

CHANNELS = 6
INT32 = DType("int32")


@dataclass(frozen=True)
class Layer:
    """One piece of a net: what it is, and how its window slides.

    Attributes:
        kind: `conv`, `depthwise`, `wide depthwise`, `max`, `average`, `add`, `shortcut`, `concat`, `pad` or `reshape`.
        pads: of EXPLICIT padding: top, bottom, left, right.
    """

    kind: str
    window: int = 3
    stride: int = 1
    dilation: int = 1
    padding: str = "SAME"
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)


class Net:
    """A net in the making; keeps height and width, so that no window is larger than its image."""

    def __init__(self, height: int, width: int, seed: int = 0, batch: int | None = 2) -> None:
        self.writer, self.height, self.width = Writer(seed), height, width
        self.last = self.writer.input("x", (batch, height, width, 4))
        self.last = self.conv(self.last, Layer("conv", window=1), inputs=4)
        self.tensors = [self.last]

    def conv(self, x: Ref, layer: Layer, *, inputs: int = CHANNELS, outputs: int = CHANNELS, relu: bool = True) -> Ref:
        """A convolution; depthwise where the layer says so, with `outputs` filters for each channel."""
        w, k, depthwise = self.writer, layer.window, "depthwise" in layer.kind
        weight = w.normal(k, k, inputs, outputs, scale=1.2 / (k * (1 if depthwise else inputs**0.5)))
        explicit = {"explicit_paddings": (0, 0, *layer.pads, 0, 0)} if layer.padding == "EXPLICIT" else {}
        geometry = {"strides": layer.stride, "dilation": layer.dilation, "padding": layer.padding}
        y = w.conv(x, weight, depthwise=depthwise, **geometry, **explicit)  # type: ignore[arg-type]
        y = w.bias(y, w.normal(y_channels(weight, depthwise), scale=0.2))
        return w.node("Relu", y) if relu else y

    def add(self, layer: Layer) -> None:
        """Puts a layer at the end, with a smaller window where it would not fit."""
        if layer.padding != "SAME" and (layer.window - 1) * layer.dilation >= min(self.height, self.width):
            layer = Layer(layer.kind, 1, 1, 1, "VALID")
        self.last = getattr(self, f"_{layer.kind.replace(' ', '_')}")(layer)
        self.tensors.append(self.last)

    def model(self, *taps: int) -> Model:
        """The net with a convolution at its end, and the outputs of some layers as outputs of its own."""
        y = self.conv(self.last, Layer("conv", window=1), outputs=4, relu=False)
        return self.writer.model(y=y, **{f"tap{place}": self.tensors[place] for place in sorted(set(taps))})

    def _slide(self, layer: Layer) -> None:
        reach = (layer.window - 1) * layer.dilation + 1
        around = {"SAME": (0, 0), "VALID": (0, 0), "EXPLICIT": (sum(layer.pads[:2]), sum(layer.pads[2:]))}
        height, width = (n + pad for n, pad in zip((self.height, self.width), around[layer.padding], strict=True))
        reach = 1 if layer.padding == "SAME" else reach
        self.height, self.width = ((n - reach) // layer.stride + 1 for n in (height, width))

    def _conv(self, layer: Layer) -> Ref:
        self._slide(layer)
        return self.conv(self.last, layer)

    def _depthwise(self, layer: Layer) -> Ref:
        self._slide(layer)
        return self.conv(self.last, layer, outputs=1)

    def _wide_depthwise(self, layer: Layer) -> Ref:
        self._slide(layer)
        y = self.conv(self.last, layer, outputs=2)
        return self.conv(y, Layer("conv", window=1), inputs=2 * CHANNELS)

    def _max(self, layer: Layer) -> Ref:
        return self._pool("MaxPool", layer)

    def _average(self, layer: Layer) -> Ref:
        return self._pool("AvgPool", layer)

    def _pool(self, op: str, layer: Layer) -> Ref:
        padding = "VALID" if layer.padding == "VALID" and layer.window <= min(self.height, self.width) else "SAME"
        self._slide(Layer(layer.kind, layer.window, layer.stride, 1, padding))
        geometry = {"ksize": (1, layer.window, layer.window, 1), "strides": (1, layer.stride, layer.stride, 1)}
        return self.writer.node(op, self.last, attrs={**geometry, "padding": padding.encode(), "data_format": b"NHWC"})

    def _add(self, layer: Layer) -> Ref:
        """relu(conv(conv(x)) + x), one window the smaller, the larger the other is."""
        inner = self.conv(self.last, Layer("conv", layer.window, dilation=layer.dilation))
        y = self.conv(inner, Layer("conv", 4 - layer.window), relu=False)
        return self.writer.node("Relu", self.writer.node("AddV2", y, self.last))

    def _shortcut(self, layer: Layer) -> Ref:
        """relu(conv(conv(x)) + conv(x))."""
        layer = Layer(layer.kind, layer.window, layer.stride)
        self._slide(layer)
        other = self.conv(self.last, Layer("conv", 1, layer.stride), relu=False)
        y = self.conv(self.conv(self.last, Layer("conv", window=1)), layer, relu=False)
        return self.writer.node("Relu", self.writer.node("AddV2", y, other))

    def _concat(self, layer: Layer) -> Ref:
        half = CHANNELS // 2
        parts = [self.conv(self.last, Layer("conv", window), outputs=half) for window in (1, layer.window)]
        axis = self.writer.const(3)
        return self.writer.node("ConcatV2", *parts, axis, attrs={"N": 2, "Tidx": INT32})

    def _pad(self, layer: Layer) -> Ref:
        top, bottom, left, right = layer.pads
        self.height, self.width = self.height + top + bottom, self.width + left + right
        paddings = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        return self.writer.node("Pad", self.last, self.writer.const(paddings), attrs={"Tpaddings": INT32})

    def _reshape(self, layer: Layer) -> Ref:
        """Columns into channels, and back."""
        attrs = {"Tshape": INT32}
        flat = self.writer.const([-1, self.height, 1, self.width * CHANNELS])
        back = self.writer.const([-1, self.height, self.width, CHANNELS])
        return self.writer.node("Reshape", self.writer.node("Reshape", self.last, flat, attrs=attrs), back, attrs=attrs)


def y_channels(weight: Array, depthwise: bool) -> int:
    """The channels of what a filter gives."""
    return int(np.prod(weight.shape[2:])) if depthwise else weight.shape[3]


def net(layers: Sequence[Layer], height: int = 12, width: int = 6, seed: int = 0, taps: Sequence[int] = ()) -> Model:
    """A float model of some layers after a convolution 1x1."""
    made = Net(height, width, seed)
    for layer in layers:
        made.add(layer)
    return made.model(*taps)


def cut(model: Model, count: int = 2, *, rows_from: int = 6, channels_from: int = 2) -> Model:
    """An 8-bit model in bands, of rows from a small height on."""
    from eightfold.tf.session import infer

    return in_bands(model, infer(model.graph), count, rows_from=rows_from, channels_from=channels_from)


def assert_equal(model: Model, banded: Model, feeds: Mapping[Ref, Array]) -> None:
    """In NumPy, to the last bit."""
    wanted = evaluate(model.graph, outputs_of(model), feeds)
    for name, expected, actual in zip(
        model.default.outputs, wanted, evaluate(banded.graph, outputs_of(banded), feeds), strict=True
    ):
        assert expected.dtype == actual.dtype, name
        np.testing.assert_array_equal(actual, expected, err_msg=name)


def bands_of(model: Model) -> Counter[str]:
    """How many bands of each op there are."""
    return Counter(node.op for node in model.graph if re.search(r"/band_\d+$", node.name))
