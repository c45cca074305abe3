"""Effects from noisy rounds."""

from __future__ import annotations

import math

import pytest

from eightfold.running.settings import Runtime
from eightfold.tuning.candidate import Aim, Candidate, Sample
from eightfold.tuning.standing import EXPECTED_NOISE, Standing


def candidate(place: int) -> Candidate:
    return Candidate("fp32", Runtime(intra=place + 1))


def sample(ms: float, rate: float | None = None) -> Sample:
    return Sample(1e3 / ms if rate is None else rate, ms, ms, ms)


def standing(table: list[list[float | None]], aim: Aim | None = None) -> Standing:
    """Milliseconds: a row for each round, a column for each candidate."""
    found = Standing(aim or Aim("latency"))
    for number, row in enumerate(table):
        for place, ms in enumerate(row):
            if ms is not None:
                found.add(number, candidate(place), sample(ms))
    return found


def test_drift_is_no_difference() -> None:
    """The second candidate is 10 % slower in each round; its mean is better."""
    ranking = standing([[10, 11], [20, 22], [40, 44], [None, 5.5]]).ranking()
    gap = ranking.worth[candidate(0)] - ranking.worth[candidate(1)]
    assert gap == pytest.approx(math.log(1.1))


def test_an_outlier_is_no_difference() -> None:
    ranking = standing([[10, 11, 12], [10, 11, 12], [30, 11, 12]]).ranking()
    assert ranking.in_order(ranking.worth) == [candidate(0), candidate(1), candidate(2)]
    assert ranking.worth[candidate(0)] - ranking.worth[candidate(2)] == pytest.approx(math.log(1.2))


def test_of_two_turns_the_better_one_counts() -> None:
    """Something else that ran made the other one slow."""
    ranking = standing([[10, 11, 12], [25, 11, 12]]).ranking()
    assert ranking.in_order(ranking.worth)[0] == candidate(0)


def test_only_rounds_of_the_race_count() -> None:
    found = standing([[10, 20], [12, 11], [12, 11], [12, 11]])
    assert found.ranking(since=1).in_order([candidate(0), candidate(1)]) == [candidate(1), candidate(0)]
    assert found.ranking(since=1).turns == {candidate(0): 3, candidate(1): 3}


def test_noise_is_expected_before_it_is_seen() -> None:
    assert standing([[10, 11]]).ranking().noise == EXPECTED_NOISE
    quiet = standing([[10, 11]] * 30).ranking()
    loud = standing([[10, 11, 10.5], [10, 14, 10], [12, 11, 13], [14, 12, 10], [10, 11, 13]] * 6).ranking()
    assert quiet.noise < EXPECTED_NOISE / 3
    assert loud.noise > 2 * EXPECTED_NOISE


def test_doubt_falls_with_turns() -> None:
    few, many = standing([[10, 11]] * 3).ranking(), standing([[10, 11]] * 12).ranking()
    assert many.doubt(candidate(0), candidate(1)) < few.doubt(candidate(0), candidate(1)) / 2


def test_throughput_is_worth_nothing_beyond_the_limit() -> None:
    """Twice the images in a second do not make up for a batch that takes twice as long as allowed."""
    aim = Aim("throughput", max_latency_ms=10)
    assert aim.worth(sample(20, rate=200)) < aim.worth(sample(9, rate=100))
    assert aim.worth(sample(9, rate=110)) > aim.worth(sample(5, rate=100))
    found = Standing(aim)
    for number, ms in enumerate((9, 12, 15)):
        found.add(number, candidate(0), sample(ms))
    assert found.excess(candidate(0)) == pytest.approx(1.2)


def test_candidates_with_the_same_settings_are_the_same() -> None:
    one, other = candidate(3), candidate(3)
    assert one == other
    assert len({one, other}) == 1
    assert one.but(batch_size=8).process == one.process
    assert one.with_env("A", "1").with_env("A", None) == one
    assert one.with_env("A", "1").process != one.process
