from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.graph.encoding import Code, Encoding, encoding_of
from eightfold.graph.ranges import Range

CODES = st.sampled_from([Code.UNSIGNED, Code.OFFSET, Code.SIGNED])
BOUNDS = st.floats(-1e4, 1e4).map(lambda x: float(np.float32(x)) if abs(x) > 1e-29 else 0.0)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    lo, hi = sorted((draw(BOUNDS), draw(BOUNDS)))
    return Range(lo, hi)


@given(ranges(), CODES)
def test_zero_has_a_code_of_its_own(values: Range, code: Code) -> None:
    encoding = encoding_of(values, code)
    assert encoding.dequantize(encoding.quantize(np.zeros(1)))[0] == 0.0
    assert encoding.limit > 0
    assert 0 <= encoding.zero <= 255


@given(ranges(), CODES)
def test_the_range_is_covered(values: Range, code: Code) -> None:
    covered = encoding_of(values, code).range
    slack = 1e-6 * max(values.magnitude, 1e-30)
    assert covered.hi >= max(values.hi, 0) - slack
    assert code is Code.UNSIGNED or covered.lo <= min(values.lo, 0) + slack


@given(ranges(), st.floats(0, 1), CODES)
def test_a_number_in_the_range_is_at_most_half_a_step_off(values: Range, place: float, code: Code) -> None:
    x = values.lo + place * (values.hi - values.lo)
    encoding = encoding_of(values, code)
    if code is Code.UNSIGNED:
        x = max(x, 0.0)
    back = float(encoding.dequantize(encoding.quantize(np.array([x])))[0])
    assert abs(back - x) <= 0.5 * encoding.step * (1 + 1e-4) + 1e-6 * abs(x)


@given(ranges())
def test_an_offset_wastes_less_than_one_step_at_either_end(values: Range) -> None:
    encoding, wide = encoding_of(values, Code.OFFSET), values.including_zero()
    if wide.lo < wide.hi:
        width = max(wide.hi - wide.lo, 1e-30)
        one_sided = min(-wide.lo, wide.hi) / width  # a side of less than one step still gets a code
        assert encoding.limit <= width * (1 + 1 / 254 + (1 if one_sided < 1 / 254 else 1 / (255 * one_sided)))


@given(ranges())
def test_an_offset_is_finer_than_a_sign(values: Range) -> None:
    """Up to the rounding of the zero: half a step in 127."""
    offset, signed = encoding_of(values, Code.OFFSET), encoding_of(values, Code.SIGNED)
    if values.magnitude > 0:
        assert offset.step <= signed.step * (1 + 1 / 127)


def test_what_the_kernels_are_told() -> None:
    assert encoding_of(Range(0, 6), Code.UNSIGNED).kernel_range == (0.0, 6.0)
    assert encoding_of(Range(-2, 1), Code.SIGNED).kernel_range == (-2.0, 2.0)
    offset = encoding_of(Range(-1, 1.55), Code.OFFSET)
    assert (offset.zero, offset.kernel_range) == (100, (0.0, pytest.approx(2.55)))
    assert offset.offset == pytest.approx(1.0)
    assert offset.step == pytest.approx(0.01)
    assert [str(encoding.dtype) for encoding in (offset, encoding_of(Range(-1, 1), Code.SIGNED))] == [
        "quint8",
        "qint8",
    ]


@pytest.mark.parametrize(
    ("values", "code", "expected"),
    [
        (Range(-4, -1), Code.OFFSET, Encoding(Code.OFFSET, 4.0, 255)),
        (Range(1, 4), Code.OFFSET, Encoding(Code.OFFSET, 4.0, 0)),
        (Range(1, 4), Code.UNSIGNED, Encoding(Code.UNSIGNED, 4.0)),
        (Range(-4, -1), Code.SIGNED, Encoding(Code.SIGNED, 4.0)),
        (Range(0, 0), Code.UNSIGNED, Encoding(Code.UNSIGNED, 1.0)),
        (Range(0, 0), Code.SIGNED, Encoding(Code.SIGNED, 1.0)),
        (Range(0, 0), Code.OFFSET, Encoding(Code.OFFSET, 1.0)),
        (Range(-1e-40, 1e-35), Code.OFFSET, Encoding(Code.OFFSET, 1.0)),  # no float32 step is that small
        (Range(0, 1e-44), Code.UNSIGNED, Encoding(Code.UNSIGNED, 1.0)),
    ],
)
def test_ranges_of_one_sign_or_of_nothing(values: Range, code: Code, expected: Encoding) -> None:
    assert encoding_of(values, code) == expected


def test_values_beyond_the_range_saturate() -> None:
    unsigned, signed = encoding_of(Range(0, 1), Code.UNSIGNED), encoding_of(Range(-1, 1), Code.SIGNED)
    assert unsigned.quantize(np.array([-9.0, 9.0])).tolist() == [0, 255]
    assert signed.quantize(np.array([-9.0, 9.0])).tolist() == [-128, 127]
    assert (unsigned.quantize(np.zeros(1)).dtype, signed.quantize(np.zeros(1)).dtype) == (np.uint8, np.int8)


def test_rounding_is_half_to_even() -> None:
    encoding = Encoding(Code.UNSIGNED, 255.0)
    assert encoding.quantize(np.array([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]


def test_text() -> None:
    assert str(encoding_of(Range(0, 6), Code.UNSIGNED)) == "u8[0, 6]"
    assert str(encoding_of(Range(-2, 1), Code.SIGNED)) == "s8[-2, 2]"
