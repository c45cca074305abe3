"""Tensors with few negative values and no offset: all 255 steps above zero, where that is the smaller error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from eightfold.calibration.collect import Run, collect
from eightfold.calibration.observers import make_observer
from eightfold.graph.encoding import Code
from eightfold.graph.ir import Array, Graph, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.quantization.encodings import without_offset
from lowering import NEW, Lowered, feeds_for, lowered


@contextmanager
def numpy_runner(graph: Graph) -> Iterator[Run]:
    def run(fetches: Sequence[Ref], feeds: Mapping[Ref, Array]) -> list[Array]:
        return evaluate(graph, fetches, feeds)

    yield run


def swish(bias: float) -> Model:
    """Swish, in float, into a convolution that pads. With a large bias few values are below zero."""
    w = Writer()
    x = w.input("x", (4, 8, 8, 8))
    y = w.bias(w.conv(x, w.normal(1, 1, 8, 16)), w.normal(16, scale=0.1) + bias)
    y = w.node("Mul", y, w.node("Sigmoid", y), name="swish")
    return w.model(y=w.conv(y, w.normal(3, 3, 16, 8, scale=0.1)))


def leaky(alpha: float) -> Model:
    w = Writer()
    x = w.input("x", (4, 8, 8, 8))
    y = w.bias(w.conv(x, w.normal(1, 1, 8, 16)), w.normal(16))
    y = w.node("LeakyRelu", y, attrs={"alpha": alpha}, name="leaky")
    return w.model(y=w.conv(y, w.normal(3, 3, 16, 8, scale=0.1)))


def both(model: Model) -> tuple[Lowered, Lowered]:
    """Without and with the energy below zero."""
    feeds = feeds_for(model)
    before = lowered(model, NEW, feeds)
    observers = {ref: make_observer("minmax") for ref in before.plan.tensors}
    ranges = collect(model.graph, observers, lambda: [feeds], numpy_runner, below_zero=without_offset(before.plan))
    return before, lowered(model, NEW, feeds, ranges)


def test_only_what_must_do_without_an_offset_is_measured() -> None:
    before, after = both(swish(4.5))
    assert without_offset(before.plan) == {Ref("swish")}
    assert after.ranges[Ref("x")].below_zero is None
    (values,) = evaluate(before.model.graph, [Ref("swish")], before.feeds)
    assert after.ranges[Ref("swish")].below_zero == pytest.approx(np.mean(np.minimum(values, 0.0) ** 2), rel=1e-5)
    assert Range(-1, 2, 0.5) == Range(-1, 2)  # it does not count in comparisons


def test_it_is_averaged_over_the_batches() -> None:
    w = Writer()
    x = w.input("x", (None, 2))
    graph = w.model(y=w.node("Relu", x)).graph
    batches = [{x: np.array(values, np.float32)} for values in ([[-1.0, 3.0]], [[-3.0, 1.0]], [[0.0, 5.0]])]
    ranges = collect(graph, {x: make_observer("minmax")}, lambda: batches, numpy_runner, below_zero={x})
    assert ranges[x].below_zero == pytest.approx((0.5 + 4.5 + 0.0) / 3)


def test_swish_with_few_negative_values_is_unsigned() -> None:
    before, after = both(swish(4.5))
    assert before.encodings[Ref("swish")].code is Code.SIGNED
    assert after.encodings[Ref("swish")].code is Code.UNSIGNED
    ratios = [sqnr_of(case, "swish") for case in (before, after)]
    assert ratios[1] - ratios[0] > 5  # 6 dB are one bit
    assert after.sqnr_db > before.sqnr_db


def test_swish_about_zero_stays_signed() -> None:
    before, after = both(swish(0.0))
    assert before.encodings[Ref("swish")] == after.encodings[Ref("swish")]
    assert after.encodings[Ref("swish")].code is Code.SIGNED


def test_a_leaky_relu_of_a_small_slope_needs_no_conversion() -> None:
    before, after = both(leaky(0.002))
    assert after.encodings[Ref("leaky")].code is Code.UNSIGNED
    assert after.ops["_FusedQuantizedDepthwiseConv2D"] == before.ops["_FusedQuantizedDepthwiseConv2D"] - 1
    assert after.sqnr_db > before.sqnr_db


@pytest.mark.parametrize(
    ("below_zero", "code"),
    [(None, Code.SIGNED), (0.0, Code.UNSIGNED), (1e-5, Code.UNSIGNED), (1e-4, Code.SIGNED)],
)
def test_the_errors_are_compared(below_zero: float | None, code: Code) -> None:
    """Of [-0.1, 4]: (4/127)²/12 = 8.3e-5 against (4/255)²/12 = 2.1e-5 and twice what is clipped."""
    known = lowered(swish(4.5), ranges={Ref("swish"): Range(-0.1, 4.0, below_zero)})
    assert known.encodings[Ref("swish")].code is code


def test_a_union_is_as_bad_as_its_worse_half() -> None:
    assert Range(-1, 2, 0.5).union(Range(-2, 1, 0.75)).below_zero == 0.75
    assert Range(-1, 2, 0.5).union(Range(0, 3)).below_zero == 0.5
    assert Range(-1, 2, 0.5).union(Range(-1, 3)).below_zero is None
    assert Range(1, 2).including_zero().below_zero is None


def sqnr_of(case: Lowered, name: str) -> float:
    """Of one float tensor against what its codes stand for."""
    (values,) = evaluate(case.model.graph, [Ref(name)], case.feeds)
    encoding = case.encodings[Ref(name)]
    return sqnr_db(values, encoding.dequantize(encoding.quantize(values)))
