"""Jobs, shards, batches and what is read ahead, without processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.data import Batch, InputSpec
from eightfold.data.arrays import ArraySource
from eightfold.errors import DataError, EightfoldError, ModelError
from eightfold.prediction.ahead import ahead
from eightfold.prediction.feeds import Buffers, Feed, Refused, feeds
from eightfold.prediction.job import MAX_ATTEMPTS, Call, Job, Shard, call_of, shard_rows
from eightfold.prediction.listing import Rows
from eightfold.prediction.local import _Pending
from eightfold.prediction.top import top
from eightfold.running.process import WorkerDeath
from eightfold.running.settings import Runtime

SPECS = {"x": InputSpec("x", "float32", (None, 2))}


def job(rows: int = 10, batch_size: int = 4, **changes: Any) -> Job:
    return Job(Call("/model"), batch_size, rows, shard_rows=2 * batch_size, listing="/listing.json", **changes)


@given(st.one_of(st.none(), st.integers(1, 10**8)), st.integers(1, 512), st.integers(0, 10**9))
def test_shards_are_whole_batches_and_bounded(rows: int | None, batch_size: int, row_bytes: int) -> None:
    each = shard_rows(rows, batch_size, row_bytes)
    assert each % batch_size == 0
    assert batch_size <= each <= 4096 + batch_size
    assert each == batch_size or (each - batch_size) * row_bytes < 64 << 20


@given(st.integers(1, 1000), st.integers(1, 40))
def test_shards_hold_every_row_once(rows: int, batch_size: int) -> None:
    shards = job(rows, batch_size).shards
    assert [row for shard in shards for row in range(shard.start, shard.stop)] == list(range(rows))
    assert [shard.number for shard in shards] == list(range(len(shards)))


def test_a_job_survives_json() -> None:
    whole = job(outputs=("a", "b"), top=3, skip_errors=True, preprocess="tf")
    assert Job.from_json(whole.to_json()) == whole
    with pytest.raises(DataError, match="this is no job of a prediction: KeyError: 'batch_size'"):
        Job.from_json(json.dumps({"call": {}}))


def test_threads_that_are_left_open_are_fixed_to_the_cores_of_an_instance() -> None:
    assert call_of("m", None, Runtime(cores=3)).intra == 3
    assert call_of("m", None, Runtime(cores=3, intra=2)).intra == 2
    assert call_of("m", None, Runtime(instances=9)).intra == 1


def fed(values: Any, *, specs: dict[str, InputSpec] = SPECS, shard: Shard | None = None, **changes: Any) -> list[Any]:
    array = np.asarray(values)
    what = job(len(array), **changes)
    rows = Rows(ArraySource(Batch({"x": array}, np.arange(len(array)))))
    found = feeds(what, specs, rows, shard or Shard(0, 0, len(array)), Buffers())
    return [(feed.rows, feed.inputs["x"].tolist()) if isinstance(feed, Feed) else feed for feed in found]


def test_batches_begin_at_multiples_of_the_batch_size() -> None:
    values = np.arange(20).reshape(10, 2)
    assert [rows for rows, _ in fed(values)] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    rest = fed(values, shard=Shard(1, 8, 10))
    assert rest == [((8, 9), values[8:].tolist())]


def test_rows_that_are_skipped_move_no_other_into_their_batch() -> None:
    values = np.arange(20.0).reshape(10, 2)
    values[1], values[4:8] = np.nan, np.inf
    found = fed(values, skip_errors=True)
    refused = [one for one in found if isinstance(one, Refused)]
    assert [(one.skipped.row, one.label) for one in refused] == [(row, row) for row in (1, 4, 5, 6, 7)]
    assert [one[0] for one in found if not isinstance(one, Refused)] == [(0, 2, 3), (8, 9)]
    with pytest.raises(DataError, match=r"^row 1: the data for input 'x' holds NaN.*; --skip-errors leaves such rows"):
        fed(values)


def test_a_fixed_batch_is_filled_up_with_the_last_row() -> None:
    specs = {"x": InputSpec("x", "float32", (4, 2))}
    assert fed([[1, 2], [3, 4]], specs=specs) == [((0, 1), [[1, 2], [3, 4], [3, 4], [3, 4]])]


def test_whole_numbers_become_floats_in_their_place() -> None:
    array = np.array([[0, 255], [7, 8]], np.uint8)
    rows = Rows(ArraySource(Batch({"x": array})))
    (feed,) = feeds(job(2), SPECS, rows, Shard(0, 0, 2), Buffers())
    assert isinstance(feed, Feed)
    assert feed.inputs["x"].dtype == np.float32
    np.testing.assert_array_equal(feed.inputs["x"], array)
    assert feed.labels is None


def test_arrays_are_used_again_once_they_are_given_back() -> None:
    buffers = Buffers()
    first = buffers.take((4, 2), np.dtype("f4"))
    assert buffers.take((4, 2), np.dtype("f4")) is not first
    buffers.give([first])
    assert buffers.take((4, 2), np.dtype("f8")) is not first
    assert buffers.take((4, 2), np.dtype("f4")) is first


def test_data_that_has_become_shorter_is_noticed() -> None:
    rows = Rows(ArraySource(Batch({"x": np.zeros((5, 2), np.float32)})))
    with pytest.raises(DataError, match="the data ends before row 5; it had 10 rows when this run began"):
        list(feeds(job(10), SPECS, rows, Shard(0, 0, 8), Buffers()))


class TestAhead:
    def test_gives_the_same_items(self) -> None:
        assert list(ahead(range(100))) == list(range(100))

    def test_raises_what_the_producer_raised_after_its_items(self) -> None:
        def broken() -> Iterator[int]:
            yield 1
            raise DataError("broken")

        items = ahead(broken())
        assert next(items) == 1
        with pytest.raises(DataError, match="broken"):
            next(items)

    def test_ends_its_thread_when_the_caller_stops(self) -> None:
        before = threading.active_count()
        items = ahead(iter(int, 1))  # zeros without end
        assert next(items) == 0
        items.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before

    def test_does_not_wait_for_a_source_that_never_answers(self) -> None:
        answered = threading.Event()

        def source() -> Iterator[int]:
            yield 1
            answered.wait()
            yield 2

        items = ahead(source())
        assert next(items) == 1
        items.close()  # type: ignore[attr-defined]
        (thread,) = (one for one in threading.enumerate() if one.name == "ahead")
        assert thread.daemon
        answered.set()
        thread.join(10)
        assert not thread.is_alive()


class TestPending:
    """Which shard a death counts against."""

    death = WorkerDeath("it died")

    def pending(self, count: int) -> _Pending:
        return _Pending([Shard(number, 4 * number, 4 * number + 4) for number in range(count)], places=1, deaths=0)

    def test_of_two_shards_neither_is_blamed_before_it_is_alone(self) -> None:
        """Shard 1 kills while it is decoded, behind shard 0, which is never blamed."""
        pending = self.pending(6)
        first = pending.take([])
        assert first is not None
        second = pending.take([first])
        assert second is not None
        for _ in range(MAX_ATTEMPTS):
            pending.died([first, second], self.death)
            assert pending.take([]) == first
            assert pending.take([first]) is None  # alone now
            assert pending.take([]) == second
            assert pending.take([second]) is None
        for _ in range(MAX_ATTEMPTS - 1):
            pending.died([second], self.death)
            assert pending.take([]) == second
        with pytest.raises(EightfoldError, match="3 workers died over rows 4 to 7"):
            pending.died([second], self.death)

    def test_a_doubtful_shard_is_not_read_ahead(self) -> None:
        pending = self.pending(6)
        shards = [pending.take([]) for _ in range(3)]
        pending.died([one for one in shards[1:] if one], self.death)
        assert shards[0] is not None
        assert pending.take([shards[0]]) is None
        assert pending.take([]) == shards[1]

    def test_the_others_are_read_ahead_again(self) -> None:
        pending = self.pending(6)
        pending.died([one for one in (pending.take([]), pending.take([])) if one], self.death)
        third = [pending.take([]) for _ in range(3)][-1]
        assert third is not None
        assert pending.take([third]) == Shard(3, 12, 16)


class TestTop:
    def scores(self, *rows: Sequence[float]) -> dict[str, Any]:
        return {"scores": np.array(rows, np.float32)}

    def test_highest_first_and_of_equal_scores_the_first_class(self) -> None:
        found = top(self.scores([0.1, 0.7, 0.2, 0.7], [0.0, 0.0, 0.0, 0.0]), 3)
        assert found["class"].tolist() == [[1, 3, 2], [0, 1, 2]]
        np.testing.assert_array_equal(found["score"][0], np.array([0.7, 0.7, 0.2], np.float32))
        assert found["class"].dtype == np.int32

    @given(st.lists(st.integers(0, 3), min_size=3, max_size=9), st.sampled_from(["f4", "i8", "u1"]))
    def test_as_a_stable_sort_would(self, values: list[int], dtype: str) -> None:
        found = top({"scores": np.array([values], dtype)}, 3)["class"][0].tolist()
        assert found == sorted(range(len(values)), key=lambda one: -values[one])[:3]

    def test_what_is_no_number_comes_last(self) -> None:
        assert top(self.scores([np.nan, -1, np.nan, 5]), 3)["class"].tolist() == [[3, 1, 0]]

    def test_no_more_than_there_are(self) -> None:
        assert top(self.scores([1.0, 2.0]), 5)["class"].tolist() == [[1, 0]]

    def test_several_outputs_have_their_names_before(self) -> None:
        found = top({"a": np.eye(2), "b": np.eye(2)}, 1)
        assert sorted(found) == ["a_class", "a_score", "b_class", "b_score"]

    def test_what_is_no_scores(self) -> None:
        with pytest.raises(ModelError, match=r"'map' float32\[2, 3, 4\]; choose outputs with --outputs"):
            top({"map": np.zeros((2, 3, 4), np.float32)}, 1)
