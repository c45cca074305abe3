"""What cannot be cut is computed whole, and a model with nothing to cut comes back."""

from __future__ import annotations

import pytest
from banded import INT32, Layer, Net, assert_equal, bands_of, cut, net

from eightfold.graph.ir import Node, Shape
from eightfold.graph.model import Model, TensorSpec
from eightfold.passes.bands.eligible import has_channel_bands
from eightfold.quantization.dynamic import lower_dynamic
from lowering import Lowered, feeds_for, lowered


def of(*layers: Layer, height: int = 12, width: int = 6) -> Lowered:
    return lowered(net(layers, height, width))


@pytest.mark.parametrize("count", [1, 0])
def test_fewer_than_two_bands(count: int) -> None:
    model = of(Layer("conv")).int8
    assert cut(model, count) is model


def test_a_float_model() -> None:
    model = net([Layer("conv"), Layer("max")])
    assert cut(model) is model


def test_small_images() -> None:
    model = of(Layer("conv")).int8
    assert cut(model, rows_from=28, channels_from=13) is model


def test_an_unknown_height_or_width() -> None:
    made = Net(12, 6)
    made.add(Layer("conv"))
    model = made.model()
    feeds = feeds_for(model)
    for axis in (1, 2):
        loose = loosened(lowered(model, feeds=feeds).int8, axis)
        assert cut(loose) is loose


def loosened(model: Model, axis: int) -> Model:
    """The model with one dimension of its input left open."""

    def changed(node: Node) -> Node:
        if node.op != "Placeholder":
            return node
        shape = node.attrs["shape"]
        return node.with_attrs(shape=type(shape)(None if place == axis else n for place, n in enumerate(shape)))

    return model.but(graph=model.graph.mapped(changed))


def test_fewer_rows_or_channels_than_bands() -> None:
    model = of(Layer("conv")).int8
    assert cut(model, 13, rows_from=6) is model
    assert bands_of(cut(model, 12, rows_from=6))["_FusedQuantizedConv2D"] == 36
    assert bands_of(cut(model, 5, rows_from=13)) == {"_FusedQuantizedConv2D": 10}  # the last one has four channels
    assert cut(model, 7, rows_from=13) is model


@pytest.mark.parametrize("kind", ["max", "average"])
def test_a_strided_pool_with_same_padding(kind: str) -> None:
    case = of(Layer("conv"), Layer(kind, 3, 2), Layer("conv"), height=13)
    banded = cut(case.int8, rows_from=5)
    assert set(bands_of(banded)) == {"_FusedQuantizedConv2D", "QuantizeV2"}
    assert_equal(case.int8, banded, case.feeds)


def test_a_depthwise_convolution_with_several_filters_a_channel_is_not_cut_in_channels() -> None:
    case = of(Layer("wide depthwise"))
    banded = cut(case.int8, rows_from=20)
    assert set(bands_of(banded)) == {"_FusedQuantizedConv2D"}
    assert_equal(case.int8, banded, case.feeds)


def test_a_depthwise_convolution_of_what_is_whole_is_not_cut_in_channels() -> None:
    made = Net(12, 6)
    made.last = made.writer.node("Reshape", made.last, made.writer.const([-1, 6, 12, 6]), attrs={"Tshape": INT32})
    made.add(Layer("depthwise"))
    case = lowered(made.model())
    assert case.ops["Reshape"] == 1
    banded = cut(case.int8, rows_from=20)
    assert set(bands_of(banded)) == {"_FusedQuantizedConv2D"}
    assert_equal(case.int8, banded, case.feeds)


@pytest.mark.parametrize("shape", [[-1, 6, 12, 6], [-1, 12, 3, 6], [2, 12, 6, 6], [-1, 6, 6, 12]])
def test_a_reshape_that_moves_rows_or_images(shape: list[int]) -> None:
    """[2, 12, 6, 6] becomes [2, 6, 12, 6], [4, 12, 3, 6], itself, [2, 6, 6, 12]."""
    made = Net(12, 6)
    made.last = made.writer.node("Reshape", made.last, made.writer.const(shape), attrs={"Tshape": INT32})
    made.last = made.conv(made.last, Layer("conv"), inputs=shape[3])
    case = lowered(made.model())
    banded = cut(case.int8, rows_from=4)
    assert bands_of(banded)["Reshape"] == (2 if shape[1:] == [12, 6, 6] else 0)
    assert bands_of(banded)["_FusedQuantizedConv2D"] == 6
    assert_equal(case.int8, banded, case.feeds)


@pytest.mark.parametrize("kind", ["conv", "pad"])
def test_a_band_that_would_be_nothing_but_padding(kind: str) -> None:
    pads = (14, 0, 0, 0)
    layer = Layer("conv", 1, padding="EXPLICIT", pads=pads) if kind == "conv" else Layer("pad", pads=pads)
    case = of(Layer("conv"), layer, Layer("conv", 1), height=6)
    banded = cut(case.int8)
    assert bands_of(banded)["_FusedQuantizedConv2D"] == {"conv": 8, "pad": 8}[kind]
    assert bands_of(banded)["PadV2"] == 0
    assert_equal(case.int8, banded, case.feeds)


def test_ranges_that_are_computed() -> None:
    """Sums in 32 bits have a range for each channel: rows are cut, channels are not."""
    model = net([Layer("conv"), Layer("conv")])
    case = lowered(model)
    dynamic = lower_dynamic(model, case.plan)
    banded = cut(dynamic)
    assert bands_of(banded)["_FusedQuantizedConv2D"] > 0
    assert_equal(dynamic, banded, case.feeds)
    assert cut(dynamic, rows_from=20) is dynamic


@pytest.mark.parametrize("fused", [(), (b"BiasAdd",), (b"Requantize",), (b"BiasAdd", b"Relu")])
def test_sums_without_bias_or_in_32_bits_are_not_cut_in_channels(fused: tuple[bytes, ...]) -> None:
    graph = of(Layer("conv")).int8.graph
    node = next(node for node in graph if node.op == "_FusedQuantizedConv2D")
    sizes = dict.fromkeys(node.inputs, (12, 6, 4))
    assert has_channel_bands(graph, node, sizes)
    assert not has_channel_bands(graph, node.with_attrs(fused_ops=fused), sizes)


def test_a_filter_that_is_computed() -> None:
    case = of(Layer("conv"))
    model = case.int8
    inner = next(n for n in model.graph if n.op == "_FusedQuantizedConv2D" and n.inputs[1].node.endswith("/weight"))
    weight = model.graph[inner.inputs[1]]
    renamed = Node(f"{weight.name}/same", "Identity", (weight.ref,), {"T": weight.attrs["dtype"]})
    nodes = [n.but(inputs=(n.inputs[0], renamed.ref, *n.inputs[2:])) if n is inner else n for n in model.graph]
    computed = model.but(graph=model.graph.with_nodes([*nodes, renamed]))
    for rows_from in (6, 20):
        banded = cut(computed, rows_from=rows_from)
        assert not any(node.name.startswith(f"{inner.name}/band") for node in banded.graph)
        assert_equal(computed, banded, case.feeds)


def test_moving_and_pooling_alone_are_not_worth_it() -> None:
    model = of(Layer("max", 3), Layer("conv")).int8
    pool = next(node for node in model.graph if node.op == "QuantizedMaxPool")
    source = Node(pool.inputs[0].node, "Placeholder", (), {"dtype": pool.attrs["T"], "shape": Shape((2, 12, 6, 6))})
    spec = TensorSpec(pool.ref, pool.attrs["T"], Shape.UNKNOWN)
    graph = model.graph.mapped(lambda node: source if node.name == source.name else node)
    signature = model.default.but(outputs={"pooled": spec}, inputs={})
    pools = model.but(graph=graph, signatures={signature.name: signature}).pruned()
    assert cut(pools) is pools
