"""Scale groups, and the encoding of each group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.writer import Writer
from eightfold.quantization.encodings import choose_encodings, scale_groups
from eightfold.quantization.recipe import Recipe
from lowering import NEW, Lowered, assert_tensorflow_agrees, lowered, rewrites_of

INT32 = DType("int32")
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def concat(w: Writer, *parts: Ref) -> Ref:
    return w.node("ConcatV2", *parts, w.const(3), attrs={"N": len(parts), "Tidx": INT32})


def branches(relu6: bool = False, linear: bool = True, padded: bool = False) -> Model:
    """relu, linear and pooled branches of one convolution, concatenated and convolved."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    stem = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4, scale=0.5)), name="stem")
    parts = [w.node("MaxPool", stem, attrs=POOL, name="pooled")]
    wide = w.conv(stem, w.normal(1, 1, 4, 4, scale=9.0 if relu6 else 0.9))
    parts.append(w.node("Relu6" if relu6 else "Relu", wide, name="clipped"))
    if linear:
        parts.append(w.bias(w.conv(stem, w.normal(1, 1, 4, 4, scale=0.5)), w.normal(4) - 1))
    size = 3 if padded else 1
    joined = concat(w, *parts)
    return w.model(y=w.conv(joined, w.normal(size, size, 4 * len(parts), 4, scale=0.3)))


def groups_of(case: Lowered) -> list[set[str]]:
    return [{ref.node for ref in group} for group in scale_groups(case.plan.steps) if len(group) > 1]


def test_a_concat_joins_its_branches_and_what_is_pooled_into_them() -> None:
    case = lowered(branches())
    (group,) = groups_of(case)
    assert group == {"stem", "pooled", "clipped", "biased", "concatv2"}


def test_without_passing_steps_every_tensor_is_alone() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    case = lowered(w.model(y=w.conv(w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4))), w.normal(1, 1, 4, 4))))
    assert groups_of(case) == []
    assert {ref.node for ref in case.encodings} == {"x", "relu", "conv_1"}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("linear", [True, False])
def test_a_group_shares_one_encoding_where_its_producers_can(linear: bool, padded: bool) -> None:
    case = lowered(branches(linear=linear, padded=padded))
    shared = {str(case.encodings[Ref(name)]) for name in ("stem", "pooled", "clipped", "concatv2")}
    assert len(shared) == 1
    code = case.encodings[Ref("concatv2")].code
    assert code is (Code.SIGNED if linear else Code.UNSIGNED)  # a Relu cannot write an offset
    assert case.ops["_FusedQuantizedDepthwiseConv2D"] == 0  # nothing is converted
    assert case.sqnr_db > 30


def test_the_shared_range_covers_all_members() -> None:
    case = lowered(branches(linear=False))
    limit = max(case.ranges[Ref(name)].hi for name in ("stem", "clipped"))
    assert case.encodings[Ref("concatv2")].limit == pytest.approx(limit)


def test_linear_branches_alone_share_an_offset() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    parts = [w.bias(w.conv(x, w.normal(1, 1, 4, 4)), w.normal(4) + shift) for shift in (1, -3)]
    case = lowered(w.model(y=w.conv(concat(w, *parts), w.normal(1, 1, 8, 4, scale=0.3))))
    assert case.encodings[Ref("concatv2")].code is Code.OFFSET
    assert case.encodings[Ref("biased")] == case.encodings[Ref("biased_1")] == case.encodings[Ref("concatv2")]
    assert case.sqnr_db > 35


@pytest.mark.int8
def test_a_cap_below_the_shared_range_gets_an_encoding_of_its_own() -> None:
    """Saturation is what clips at 6: the codes beyond 6 of a wider range would let more through."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    capped = w.node("Relu6", w.conv(x, w.normal(1, 1, 4, 4, scale=9.0)))
    wide = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4, scale=9.0)))
    case = lowered(w.model(y=w.conv(concat(w, capped, wide), w.normal(1, 1, 8, 4, scale=0.3))))
    assert case.ranges[Ref("relu")].hi > 6
    assert case.encodings[Ref("relu6")].limit == 6
    assert case.encodings[Ref("relu")] == case.encodings[Ref("concatv2")]
    assert case.ops["_FusedQuantizedDepthwiseConv2D"] == 1  # the conversion of the capped branch
    assert case.real(Ref("relu6")).max() <= 6
    assert case.sqnr_db > 30
    assert_tensorflow_agrees(case)


def test_a_cap_above_the_shared_range_is_no_reason() -> None:
    case = lowered(branches(relu6=True, linear=False), ranges={Ref("stem"): Range(0, 5), Ref("pooled"): Range(0, 5)})
    if case.ranges[Ref("clipped")].hi <= 6:
        assert case.encodings[Ref("clipped")].limit <= 6


@pytest.mark.parametrize(
    ("values", "padded", "offsets", "code"),
    [
        (Range(-1, 2), False, True, Code.OFFSET),
        (Range(-1, 2), True, True, Code.SIGNED),  # what is read beyond the edge must be zero
        (Range(0, 2), True, True, Code.UNSIGNED),
        (Range(0.5, 2), False, True, Code.UNSIGNED),
        (Range(-1, 2), False, False, Code.SIGNED),
        (Range(-3, -1), False, True, Code.OFFSET),
        (Range(0, 0), False, True, Code.UNSIGNED),
    ],
)
def test_the_coding_of_an_input(values: Range, padded: bool, offsets: bool, code: Code) -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    size = 3 if padded else 1
    case = lowered(w.model(y=w.conv(x, w.normal(size, size, 4, 4))), ranges={Ref("x"): values})
    assert choose_encodings(case.plan, case.ranges, offsets=offsets)[Ref("x")].code is code


def test_the_cheaper_coding_wins_where_readers_disagree() -> None:
    """Two padded readers and one that is not: signed codes serve all three without a conversion."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.bias(w.conv(x, w.normal(1, 1, 4, 4)), w.normal(4))
    case = lowered(w.model(a=w.conv(y, w.normal(3, 3, 4, 4)), b=w.conv(y, w.normal(1, 1, 4, 4))))
    assert case.encodings[Ref("biased")].code is Code.SIGNED
    assert case.ops["_FusedQuantizedConv2D"] == 3
    assert case.ops["_FusedQuantizedDepthwiseConv2D"] == 0


@pytest.mark.int8
def test_a_summand_that_a_padded_conv_reads_as_well_is_converted_once() -> None:
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.bias(w.conv(x, w.normal(1, 1, 4, 4)), w.normal(4))  # a summand must be unsigned; 3x3 wants no offset
    z = [w.conv(y, w.normal(3, 3, 4, 4, scale=0.2)) for _ in range(2)]
    case = lowered(w.model(a=w.node("AddV2", w.conv(w.node("Relu", z[0]), w.normal(1, 1, 4, 4)), y), b=z[1]))
    assert sorted(rewrites_of(case.plan).values()) == ["conv", "conv", "conv_add", "conv_relu"]
    assert case.ops["_FusedQuantizedDepthwiseConv2D"] == 1
    assert case.sqnr_db > 30
    assert_tensorflow_agrees(case)


def test_activations_of_both_signs_between_dense_layers_have_an_offset() -> None:
    """The next dense layer reads unsigned codes only."""
    w = Writer()
    x = w.input("x", (4, 16))
    y = w.node("Elu", w.matmul(x, w.normal(16, 8, scale=0.3)))
    case = lowered(w.model(y=w.matmul(y, w.normal(8, 4))))
    assert case.encodings[Ref("elu")].code is Code.OFFSET
    assert case.ops["Dequantize"] == 0
    assert case.sqnr_db > 38


def test_a_sum_without_relu_keeps_its_offset_even_where_offsets_are_not_wanted() -> None:
    """The kernel that adds writes unsigned codes only."""
    w = Writer()
    x = w.input("x", (2, 6, 6, 4))
    y = w.node("AddV2", w.conv(x, w.normal(3, 3, 4, 4, scale=0.3)), w.conv(x, w.normal(1, 1, 4, 4)))
    case = lowered(w.model(y=w.conv(y, w.normal(3, 3, 4, 4))), Recipe(offsets=False))
    assert case.encodings[Ref("addv2")].code is Code.OFFSET
    assert all(case.encodings[ref].code is Code.SIGNED for ref in case.encodings if ref.node in ("x", "conv_2"))
    assert case.sqnr_db > 28


@given(
    st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8)), min_size=2, max_size=4),
    st.lists(st.sampled_from(["Relu", "Relu6", ""]), min_size=4, max_size=4),
    st.booleans(),
)
def test_any_ranges_of_any_branches_give_encodings_that_can_be_written(
    bounds: list[tuple[float, float]], kinds: list[str], padded: bool
) -> None:
    w = Writer()
    x = w.input("x", (1, 4, 4, 4))
    parts = []
    for _, kind in zip(bounds, kinds, strict=False):
        y = w.conv(x, w.normal(1, 1, 4, 4))
        parts.append(w.node(kind, y) if kind else y)
    size = 3 if padded else 1
    model = w.model(y=w.conv(concat(w, *parts), w.normal(size, size, 4 * len(parts), 4)))
    ranges = {part: Range(*sorted(pair)) for part, pair in zip(parts, bounds, strict=True)}
    case = lowered(model, NEW, ranges=ranges)
    for ref, step in case.plan.producers.items():
        encoding = case.encodings[ref]
        assert encoding.code & step.gives
        cap = step.rewrite.cap(step.match)
        assert cap is None or encoding.range.hi <= cap * (1 + 1e-6)
    assert np.isfinite(case.actual[0]).all()
