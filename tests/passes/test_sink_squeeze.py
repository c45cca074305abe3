"""Convolutions over one axis: what follows them stands beside them, and one feeds the next directly."""

from __future__ import annotations

import numpy as np
import pytest
from unchanged import applied, context, kept, ops

from eightfold.graph.ir import DType, Ref
from eightfold.graph.writer import Writer
from eightfold.passes.pipeline import EXPORT, run_passes
from eightfold.passes.sink_squeeze import sink_squeezes

INT32 = DType("int32")


def expand(w: Writer, x: Ref, axis: int = 1) -> Ref:
    return w.node("ExpandDims", x, w.const([axis]), attrs={"Tdim": INT32})


def conv1d(w: Writer, x: Ref, channels: int, outputs: int, axis: int = 1) -> Ref:
    """A convolution of three steps over [batch, length, channels]."""
    shape = (1, 3, channels, outputs) if axis == 1 else (3, 1, channels, outputs)
    image = w.conv(expand(w, x, axis), w.normal(*shape), padding="VALID")
    return w.node("Squeeze", image, attrs={"squeeze_dims": (axis - 4,)})


def pad(w: Writer, x: Ref, before: int, after: int) -> Ref:
    amounts = w.const(np.array([[0, 0], [before, after], [0, 0]], np.int32))
    return w.node("Pad", x, amounts, attrs={"Tpaddings": INT32})


@pytest.mark.parametrize("axis", [1, 2])
def test_bias_norm_and_activation_stay_beside_the_convolution(axis: int) -> None:
    w = Writer()
    x = w.input("x", (2, 12, 4))
    biased = w.bias(conv1d(w, x, 4, 5, axis), w.normal(5))
    scaled = w.node("AddV2", w.node("Mul", biased, w.const(w.normal(1, 1, 5))), w.const(w.normal(5)))
    y = conv1d(w, w.node("Relu", scaled), 5, 6, axis)
    after = applied(sink_squeezes, w.model(y=y))
    assert ops(after) == {"ExpandDims": 1, "Conv2D": 2, "BiasAdd": 1, "Mul": 1, "AddV2": 1, "Relu": 1, "Squeeze": 1}
    folded = run_passes(w.model(y=y), context(), EXPORT)
    assert ops(folded) == {"ExpandDims": 1, "Conv2D": 2, "BiasAdd": 1, "Relu": 1, "Squeeze": 1}


def test_residual_concatenation_and_mean() -> None:
    w = Writer()
    x = conv1d(w, w.input("x", (2, 12, 4)), 4, 4)
    narrow = conv1d(w, pad(w, x, 2, 0), 4, 4)
    both = w.node("ConcatV2", w.node("AddV2", x, narrow), x, w.const(np.array(-1, np.int32)), attrs={"N": 2})
    y = w.node("Mean", both, w.const([1]), attrs={"keep_dims": False, "Tidx": INT32})
    after = applied(sink_squeezes, w.model(y=y, map=both))
    assert ops(after) == {"ExpandDims": 1, "Conv2D": 2, "Pad": 1, "AddV2": 1, "ConcatV2": 1, "Mean": 1, "Squeeze": 1}
    assert after.graph[after.default.outputs["map"].ref].op == "Squeeze"


def test_a_causal_dilated_convolution_becomes_one_node() -> None:
    w = Writer()
    x = pad(w, w.input("x", (2, 12, 4)), 4, 0)
    types = {"Tblock_shape": INT32}
    amounts = w.const(np.array([[0, 0]], np.int32))
    batches = w.node("SpaceToBatchND", x, w.const([2]), amounts, attrs={**types, "Tpaddings": INT32})
    crops = w.const(np.array([[0, 0]], np.int32))
    y = w.node("BatchToSpaceND", conv1d(w, batches, 4, 5), w.const([2]), crops, attrs={**types, "Tcrops": INT32})
    model = w.model(y=w.node("Relu", y))

    def exported(model, context):  # type: ignore[no-untyped-def]
        return run_passes(model, context, EXPORT)

    after = applied(exported, model, on_tensorflow=True)
    assert ops(after) == {"ExpandDims": 1, "Conv2D": 1, "Relu": 1, "Squeeze": 1}
    conv = next(node for node in after.graph if node.op == "Conv2D")
    assert conv.attrs["dilations"] == (1, 1, 2, 1)
    assert conv.attrs["explicit_paddings"] == (0, 0, 0, 0, 4, 0, 0, 0)


def test_what_is_no_matter_of_one_image_stays() -> None:
    w = Writer()
    x = w.input("x", (2, 12, 4))
    narrow = conv1d(w, x, 4, 4)
    assert kept(sink_squeezes, w.model(y=w.node("AddV2", narrow, pad(w, x, -1, -1))))  # one of them is no image
    assert kept(sink_squeezes, w.model(y=w.node("Softmax", narrow)))
    w = Writer()
    image = w.conv(w.input("x", (1, 1, 6, 4)), w.normal(1, 3, 4, 4))
    both = w.node("Squeeze", image, attrs={"squeeze_dims": (0, 1)})
    assert kept(sink_squeezes, w.model(y=w.node("Relu", both)))
