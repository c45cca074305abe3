"""Learned rounding against what is known: brute force, GPTQ as its paper writes it, and rounding to nearest."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.calibration.rounding import _damped, _nearest_plane, learned_codes, squared_error

Floats = npt.NDArray[np.float64]


def moment_of(rows: Floats) -> Floats:
    return np.swapaxes(rows, -1, -2) @ rows / rows.shape[-2]


def correlated(seed: int, *shape: int) -> Floats:
    """The second moment of inputs that share much: shape [..., K], with 4 K rows."""
    random = np.random.default_rng(seed)
    *leading, size = shape
    rows = random.normal(size=(*leading, 4 * size, size)) + 2 * random.normal(size=(*leading, 4 * size, 1))
    return moment_of(rows)


def as_it_is(size: int) -> npt.NDArray[np.intp]:
    """The order of weights that changes nothing."""
    return np.arange(size)[:, np.newaxis]


def weights(seed: int, *shape: int, top: int = 127) -> Floats:
    return np.random.default_rng(seed).uniform(-top, top, shape)


def nearest(weight: Floats, top: int) -> Floats:
    return np.clip(np.rint(weight), -top, top)


def test_equal_inputs_share_what_rounding_takes_away() -> None:
    """w = 0.4 + 0.4 on the same input: 0 + 0 is 0.8 steps off, 1 + 0 only 0.2."""
    codes = learned_codes(np.full((2, 1), 0.4), np.ones((2, 2)), 127)
    assert codes.sum() == 1
    assert squared_error(np.ones((2, 2)), 0.4 - codes) == pytest.approx(0.04)


def test_opposite_inputs_round_the_same_way() -> None:
    """w = 0.4 and 0.7 on x and -x compute -0.3 x: rounding to nearest makes that -1 x."""
    moment = np.array([[1.0, -1.0], [-1.0, 1.0]])
    weight = np.array([[0.4], [0.7]])
    assert squared_error(moment, weight - nearest(weight, 127)) == pytest.approx(0.49)
    assert squared_error(moment, weight - learned_codes(weight, moment, 127)) == pytest.approx(0.09)


def test_a_code_can_move_by_more_than_one_step() -> None:
    """w = 0.4 and 0.4 on x and 4 x compute 2 x, which 2 and 0 do as well."""
    codes = learned_codes(np.full((2, 1), 0.4), moment_of(np.array([[1.0, 4.0]])), 127)
    assert codes.ravel().tolist() == [2, 0]


@pytest.mark.parametrize("top", [127, 63])
def test_independent_inputs_are_rounded_to_nearest(top: int) -> None:
    weight = weights(0, 90, 7, top=top)
    moment = np.diag(np.random.default_rng(1).uniform(0.1, 9, 90))
    assert np.array_equal(learned_codes(weight, moment, top), nearest(weight, top))


def test_inputs_that_are_never_seen_are_rounded_to_nearest() -> None:
    moment = np.zeros((20, 20))
    moment[:10, :10] = correlated(2, 10)
    weight = weights(3, 20, 5)
    codes = learned_codes(weight, moment, 127)
    assert np.array_equal(codes[10:], nearest(weight, 127)[10:])
    assert np.array_equal(learned_codes(weight, np.zeros((20, 20)), 127), nearest(weight, 127))


def best_error(weight: Floats, moment: Floats) -> float:
    """The smallest error that any codes up to two steps away have, for one column."""
    middle = np.rint(weight)
    choices = np.array(list(product((-2, -1, 0, 1, 2), repeat=weight.size)))
    return float(squared_error(moment, weight[:, np.newaxis] - (middle[:, np.newaxis] + choices.T)).min())


def test_tiny_layers_come_near_the_best_of_all_codes() -> None:
    """200 columns of 4 weights: the error is 1.06 times the smallest there is; with rounding to nearest 2.7 times."""
    moments, weight = correlated(4, 40, 4), weights(5, 40, 4, 5, top=50)
    learned = squared_error(moments, weight - learned_codes(weight, moments, 127))
    plain = squared_error(moments, weight - nearest(weight, 127))
    best = np.array([[best_error(w[:, o], m) for o in range(5)] for w, m in zip(weight, moments, strict=True)])
    assert (learned >= best - 1e-9).all()
    assert (learned < best + 1e-9).mean() > 0.75
    assert learned.sum() < 1.1 * best.sum()
    assert plain.sum() > 2.5 * best.sum()


@st.composite
def layers(draw: st.DrawFn) -> tuple[Floats, Floats, int]:
    """Weights, a moment of as few as one row, and the largest code."""
    size, units = draw(st.integers(1, 90)), draw(st.integers(1, 5))
    leading = draw(st.sampled_from([(), (1,), (3,)]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = random.normal(size=(*leading, draw(st.integers(1, 200)), size))
    if draw(st.booleans()):
        rows = np.maximum(rows @ random.normal(size=(size, size)), 0)
    rows *= draw(st.sampled_from([1e-6, 1.0, 1e5]))
    top = draw(st.sampled_from([127, 63]))
    return random.uniform(-top, top, (*leading, size, units)), moment_of(rows), top


@given(layers())
def test_no_column_is_worse_than_with_rounding_to_nearest(layer: tuple[Floats, Floats, int]) -> None:
    weight, moment, top = layer
    codes = learned_codes(weight, moment, top)
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() <= top
    before = squared_error(moment, weight - nearest(weight, top))
    assert (squared_error(moment, weight - codes) <= before).all()


@given(layers())
def test_it_is_deterministic_and_columns_are_independent(layer: tuple[Floats, Floats, int]) -> None:
    weight, moment, top = layer
    codes = learned_codes(weight, moment, top)
    assert np.array_equal(codes, learned_codes(weight.copy(), moment.copy(), top))
    alone = learned_codes(weight[..., -1:], moment, top)
    assert (alone == codes[..., -1:]).mean() > 0.9  # sums in another order may round a tie otherwise


def test_no_single_code_can_be_changed_for_the_better() -> None:
    weight, moment = weights(6, 70, 4, top=100), correlated(7, 70)
    damped = _damped(moment, as_it_is(70))
    error = weight - learned_codes(weight, moment, 127)
    slope, curve = damped @ error, np.diagonal(damped)[:, np.newaxis]
    for change in (-1, 1):  # (e - c)'H(e - c) - e'He
        assert (curve - 2 * change * slope >= -1e-9).all()


def gptq(weight: Floats, moment: Floats, top: int) -> Floats:
    """Frantar et al., algorithm 1, without blocks, from the last weight to the first."""
    flipped = moment[::-1, ::-1]
    inverse = np.linalg.cholesky(np.linalg.inv(flipped)).T
    w, codes = weight[::-1].copy(), np.empty_like(weight)
    for i in range(len(w)):
        codes[i] = np.clip(np.rint(w[i]), -top, top)
        w[i:] -= np.outer(inverse[i, i:], (w[i] - codes[i]) / inverse[i, i])
    return codes[::-1]


@pytest.mark.parametrize("size", [5, 64, 150])
def test_the_nearest_plane_is_gptq(size: int) -> None:
    weight, moment = weights(8, size, 6), _damped(correlated(9, size), as_it_is(size))
    assert np.array_equal(_nearest_plane(weight, moment, 127), gptq(weight, moment, 127))


def test_leading_axes_are_independent_problems() -> None:
    weight, moment = weights(10, 5, 9, 2), correlated(11, 5, 9)
    together = learned_codes(weight, moment, 127)
    for codes, w, m in zip(together, weight, moment, strict=True):
        assert np.array_equal(codes, learned_codes(w, m, 127))
