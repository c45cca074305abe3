"""Pads and dilations that become part of a convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unchanged import applied, kept, ops

from eightfold.graph.ir import DType, Ref
from eightfold.graph.writer import Writer
from eightfold.passes.dilation import contract_dilation
from eightfold.passes.padding import fold_padding

INT32 = DType("int32")


def pad(w: Writer, x: Ref, *amounts: tuple[int, int], fill: float | None = None) -> Ref:
    paddings = w.const(np.array(amounts, np.int32))
    if fill is None:
        return w.node("Pad", x, paddings, attrs={"Tpaddings": INT32})
    return w.node("PadV2", x, paddings, w.const(fill), attrs={"Tpaddings": INT32})


@given(*[st.integers(0, 3)] * 4, st.integers(1, 2), st.sampled_from([None, 0.0]))
@settings(max_examples=25)
def test_a_zero_pad_folds_into_a_valid_convolution(
    top: int, bottom: int, left: int, right: int, strides: int, fill: float | None
) -> None:
    w = Writer()
    y = pad(w, w.input("x", (1, 6, 7, 3)), (0, 0), (top, bottom), (left, right), (0, 0), fill=fill)
    after = applied(fold_padding, w.model(y=w.conv(y, w.normal(3, 2, 3, 4), padding="VALID", strides=strides)))
    assert ops(after) == {"Conv2D": 1}
    assert after.graph["conv"].attrs["explicit_paddings"] == (0, 0, top, bottom, left, right, 0, 0)


def test_a_pad_adds_to_explicit_padding() -> None:
    w = Writer()
    y = pad(w, w.input("x", (1, 6, 7, 3)), (0, 0), (1, 0), (2, 1), (0, 0))
    own = {"explicit_paddings": (0, 0, 1, 1, 0, 1, 0, 0)}
    after = applied(fold_padding, w.model(y=w.conv(y, w.normal(3, 3, 3, 4), padding="EXPLICIT", **own)))
    assert after.graph["conv"].attrs["explicit_paddings"] == (0, 0, 2, 1, 2, 2, 0, 0)


def test_a_pad_that_somebody_else_reads_folds_all_the_same() -> None:
    w = Writer()
    y = pad(w, w.input("x", (1, 6, 7, 3)), (0, 0), (1, 1), (1, 1), (0, 0))
    model = w.model(y=w.conv(y, w.normal(3, 3, 3, 4), padding="VALID"), other=w.node("Relu", y))
    assert ops(applied(fold_padding, model)) == {"Conv2D": 1, "Pad": 1, "Relu": 1}


@pytest.mark.parametrize("why", ["same", "value", "batch", "channels", "depthwise"])
def test_what_cannot_fold_is_left_alone(why: str) -> None:
    w = Writer()
    x = w.input("x", (1, 6, 7, 3))
    amounts = [(0, 0), (1, 1), (1, 1), (0, 0)]
    if why in ("batch", "channels"):
        amounts[0 if why == "batch" else 3] = (1, 0)
    y = pad(w, x, *amounts, fill=1.0 if why == "value" else None)
    channels = 4 if why == "channels" else 3
    weight = w.normal(3, 3, channels, 1 if why == "depthwise" else 4)
    y = w.conv(y, weight, padding="SAME" if why == "same" else "VALID", depthwise=why == "depthwise")
    assert kept(fold_padding, w.model(y=y))


def dilated(
    block: tuple[int, int], pads: tuple[tuple[int, int], ...], crops: tuple[tuple[int, int], ...], depthwise: bool
) -> Writer:
    w = Writer()
    x = w.input("x", (2, 8, 8, 3))
    types = {"Tblock_shape": INT32, "Tpaddings": INT32, "Tcrops": INT32}
    size, before, after = (w.const(np.array(v, np.int32)) for v in (block, pads, crops))
    y = w.node("SpaceToBatchND", x, size, before, attrs={**types, "Tcrops": None})
    y = w.conv(y, w.normal(3, 3, 3, 1 if depthwise else 4), padding="VALID", depthwise=depthwise)
    w.node("BatchToSpaceND", y, size, after, attrs={**types, "Tpaddings": None}, name="result")
    return w


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize(
    ("block", "pads", "crops", "explicit"),
    [
        ((2, 2), ((2, 2), (2, 2)), ((0, 0), (0, 0)), (2, 2, 2, 2)),
        ((2, 1), ((2, 2), (1, 1)), ((0, 0), (0, 0)), (2, 2, 1, 1)),
        ((3, 3), ((3, 4), (3, 4)), ((0, 1), (0, 1)), (3, 3, 3, 3)),
        ((2, 2), ((0, 0), (0, 0)), ((0, 0), (0, 0)), (0, 0, 0, 0)),
    ],
)
def test_space_to_batch_is_a_dilation(
    block: tuple[int, int],
    pads: tuple[tuple[int, int], ...],
    crops: tuple[tuple[int, int], ...],
    explicit: tuple[int, ...],
    depthwise: bool,
) -> None:
    w = dilated(block, pads, crops, depthwise)
    after = applied(contract_dilation, w.model(y=Ref("result")))
    (conv,) = (node for node in after.graph if "Conv" in node.op or "Depthwise" in node.op)
    assert sum(ops(after).values()) == 1
    assert conv.attrs["dilations"] == (1, *block, 1)
    assert conv.attrs["explicit_paddings"] == (0, 0, *explicit, 0, 0)


def test_cropping_what_was_not_padded_is_no_dilation() -> None:
    w = dilated((2, 2), ((2, 2), (2, 2)), ((1, 0), (0, 0)), depthwise=False)
    assert kept(contract_dilation, w.model(y=Ref("result")))
    w = dilated((2, 2), ((2, 0), (2, 2)), ((0, 1), (0, 0)), depthwise=False)
    assert kept(contract_dilation, w.model(y=Ref("result")))
