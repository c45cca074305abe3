"""A model in bands computes what it computed before, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from banded import Layer, assert_equal, bands_of, cut, net
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.graph.model import Model
from eightfold.tf.session import Runner
from lowering import feeds_for, lowered, outputs_of

KINDS = ["conv", "depthwise", "wide depthwise", "max", "average", "add", "shortcut", "concat", "pad", "reshape"]


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    dilation = draw(st.integers(1, 2))
    pads = st.integers(0, 2)
    return Layer(
        kind=draw(st.sampled_from(KINDS)),
        window=draw(st.integers(1, 3)),
        stride=1 if dilation > 1 else draw(st.integers(1, 2)),
        dilation=dilation,
        padding=draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"])),
        pads=(draw(pads), draw(pads), draw(pads), draw(pads)),
    )


@st.composite
def nets(draw: st.DrawFn) -> Model:
    chain = draw(st.lists(layers(), min_size=1, max_size=4))
    taps = draw(st.lists(st.integers(0, len(chain)), max_size=2))
    return net(chain, draw(st.integers(6, 14)), draw(st.integers(4, 6)), draw(st.integers(0, 99)), taps)


@given(nets(), st.integers(2, 3), st.sampled_from([(6, 2), (4, 4), (3, 1), (20, 2)]))
@settings(max_examples=120)
def test_any_net(model: Model, count: int, heights: tuple[int, int]) -> None:
    case = lowered(model)
    banded = cut(case.int8, count, rows_from=heights[0], channels_from=heights[1])
    assert bands_of(banded)["_FusedQuantizedConv2D"] >= count
    assert_equal(case.int8, banded, case.feeds)


@pytest.mark.int8
@given(nets(), st.integers(2, 3), st.sampled_from([(6, 2), (3, 1), (20, 2)]))
@settings(max_examples=25)
def test_any_net_on_tensorflow(model: Model, count: int, heights: tuple[int, int]) -> None:
    case = lowered(model)
    banded = cut(case.int8, count, rows_from=heights[0], channels_from=heights[1])
    results = []
    for threads, graph in ((1, case.int8), (count, banded)):
        with Runner.of(graph, intra=1, inter=threads, optimize=False) as run:
            results.append(run(outputs_of(graph), case.feeds))
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows_from", "channels_from"), [(4, 4), (20, 2)])
def test_each_kind_of_layer_is_cut(kind: str, rows_from: int, channels_from: int) -> None:
    case = lowered(net([Layer(kind, window=3, padding="VALID" if kind == "max" else "SAME"), Layer("conv")], 13))
    banded = cut(case.int8, rows_from=rows_from, channels_from=channels_from)
    assert_equal(case.int8, banded, case.feeds)
    before, after = case.ops, bands_of(banded)
    by_channel = {"_FusedQuantizedConv2D", "QuantizedAvgPool", "QuantizedMaxPool"}
    if kind != "wide depthwise":
        by_channel.add("_FusedQuantizedDepthwiseConv2D")
    every = by_channel | {"_FusedQuantizedDepthwiseConv2D", "ConcatV2", "QuantizeV2", "PadV2", "Reshape"}
    expected = every if rows_from == 4 else by_channel
    assert after == {op: 2 * n for op, n in before.items() if op in expected} | (
        {"Bitcast": 4} if kind == "pad" and rows_from == 4 else {}
    )


@pytest.mark.parametrize("height", range(7, 16))
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_an_average_pool_counts_the_padding_of_the_image_only(height: int, padding: str) -> None:
    case = lowered(net([Layer("average", 3, padding=padding)], height))
    banded = cut(case.int8, 3, rows_from=5, channels_from=5)
    assert bands_of(banded)["QuantizedAvgPool"] == 3
    assert_equal(case.int8, banded, case.feeds)


RESIDUAL = [Layer("max", 3, 2, padding="VALID"), Layer("shortcut"), Layer("add"), Layer("add"), Layer("shortcut", 3, 2)]
NETS = {
    "residual": [Layer("conv", 3, 2), *RESIDUAL, Layer("add"), Layer("average", 2, 2, padding="VALID")],
    "depthwise": [Layer("depthwise"), Layer("conv", 1), Layer("depthwise", 3, 2), Layer("add"), Layer("depthwise")],
    "branches": [Layer("concat"), Layer("max", 3, 2), Layer("concat"), Layer("average"), Layer("concat")],
    "padded": [Layer("pad"), Layer("conv", 3, 2, padding="VALID"), Layer("pad"), Layer("conv", 3, 1, 2, "EXPLICIT")],
    "moved": [Layer("reshape"), Layer("wide depthwise"), Layer("average", 3), Layer("reshape"), Layer("conv", 3, 2)],
}


@pytest.mark.int8
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("count", [2, 3])
def test_on_tensorflow(name: str, count: int) -> None:
    """Many runs side by side: two bands that write into one buffer do not meet in every run."""
    model = net(NETS[name], 29, 11, seed=3, taps=[1, 3])
    case = lowered(model)
    banded = cut(case.int8, count, rows_from=9, channels_from=2)
    assert bands_of(banded)["_FusedQuantizedConv2D"] > count
    outputs = list(case.model.default.outputs)
    for batch in (1, 2):
        feeds = feeds_for(dynamic_batch(model), seed=batch, batch=batch)
        with Runner.of(dynamic_batch(case.int8), intra=1, inter=1) as run:
            wanted = run(outputs_of(case.int8), feeds)
        for optimize in (False, True):
            with Runner.of(dynamic_batch(banded), intra=1, inter=count, optimize=optimize) as run:
                for _ in range(10):
                    actual = run(outputs_of(banded), feeds)
                    for key, one, other in zip(outputs, wanted, actual, strict=True):
                        np.testing.assert_array_equal(other, one, err_msg=key)


def dynamic_batch(model: Model) -> Model:
    """The model for any batch size."""

    def freed(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return type(shape)((None, *shape[1:]))

    graph = model.graph.mapped(
        lambda node: node.with_attrs(shape=freed(node.attrs["shape"])) if node.op == "Placeholder" else node
    )
    inputs = {
        name: type(spec)(spec.ref, spec.dtype, freed(spec.shape))  # type: ignore[arg-type]
        for name, spec in model.default.inputs.items()
    }
    return model.but(graph=graph, signatures={model.default.name: model.default.but(inputs=inputs)})
