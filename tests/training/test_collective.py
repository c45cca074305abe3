"""What workers say to each other: sums, values, and that one is lost."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from joined import joined, together

from eightfold.errors import PlatformError
from eightfold.training.collective import Alone, WorkerLostError, synchronized
from eightfold.training.mesh import Link, Mesh
from eightfold.training.pace import Pace

SHAPES = [(3, 5), (), (17,), (0,), (40, 1000), (1, 1, 2)]


def gradients(rank: int, scale: int = 1) -> list[Any]:
    rng = np.random.default_rng(rank)
    return [rng.normal(size=(*shape[:-1], shape[-1] * scale) if shape else ()).astype("float32") for shape in SHAPES]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_sums_are_those_in_the_order_of_the_ranks_bit_for_bit(count: int, shared: bool) -> None:
    with joined(count, shared=shared) as workers:
        for scale in (1, 3, 1):  # longer vectors need more room, which is kept
            totals = together([lambda w=w, s=scale: w.sums(gradients(w.rank, s)) for w in workers])
            for at, first in enumerate(gradients(0, scale)):
                expected = first
                for rank in range(1, count):
                    expected = expected + gradients(rank, scale)[at]
                for one in totals:
                    np.testing.assert_array_equal(one[at].numpy(), expected)
                    assert one[at].shape == expected.shape


@pytest.mark.parametrize("shared", [True, False])
def test_a_sum_inside_of_a_compiled_function_has_the_shape_of_its_parts(shared: bool) -> None:
    with joined(2, shared=shared) as workers:
        for worker in workers:
            step = tf.function(lambda x, w=worker: w.sum(x * 2), autograph=False)
            assert step.get_concrete_function(tf.TensorSpec((4,))).structured_outputs.shape == (4,)
        steps = [tf.function(lambda x, w=worker: w.sum(x * 2), autograph=False) for worker in workers]
        for _ in range(3):
            for total in together([lambda s=step: s(tf.range(4.0)) for step in steps]):
                assert total.numpy().tolist() == [0, 4, 8, 12]


def test_results_stay_what_they_are_when_the_next_sum_comes() -> None:
    with joined(2, shared=True) as workers:
        first = together([lambda w=w: w.sum(np.ones(1000, "float32")) for w in workers])
        together([lambda w=w: w.sum(np.zeros(1000, "float32")) for w in workers])
        assert all((one.numpy() == 2).all() for one in first)


def test_memory_of_results_is_used_again_when_they_are_gone() -> None:
    with joined(2, shared=True) as workers:
        steps = [tf.function(lambda x, w=worker: tf.reduce_sum(w.sum(x)), autograph=False) for worker in workers]
        places = []
        for _ in range(4):
            assert [float(one) for one in together([lambda s=s: s(tf.ones(1000)) for s in steps])] == [2000, 2000]
            places.append(workers[0]._last.ctypes.data)
        assert len(set(places[1:])) == 1


def test_overflow_is_infinite_and_no_warning() -> None:
    with joined(2) as workers:
        large = np.full(10, 3e38, "float32")
        assert all(np.isinf(one.numpy()).all() for one in together([lambda w=w: w.sum(large) for w in workers]))


def test_other_dtypes_are_refused() -> None:
    with joined(2) as workers, pytest.raises(PlatformError, match="float32; received bfloat16"):
        workers[0].sum(tf.zeros(3, tf.bfloat16))


def test_small_values_go_both_ways() -> None:
    with joined(3) as workers:
        assert (
            together([lambda w=w: w.gather({"rank": w.rank, "s": "ä" * w.rank}) for w in workers])
            == [[{"rank": rank, "s": "ä" * rank} for rank in range(3)]] * 3
        )
        counts = [np.array([2**40, 1]), np.array(0.1), np.ones((2, 2), np.float32)]
        for arrays in together([lambda w=w: w.sum_arrays(counts) for w in workers]):
            assert [one.dtype for one in arrays] == [one.dtype for one in counts]
            assert arrays[0].tolist() == [3 * 2**40, 3]
            assert arrays[1] == 0.1 + 0.1 + 0.1
            assert arrays[2].tolist() == [[3, 3], [3, 3]]
        together([worker.barrier for worker in workers])


def test_all_begin_with_the_values_of_worker_0() -> None:
    with joined(3) as workers:
        variables = [
            [keras.Variable(np.full((2, 3), rank, "float32")), keras.Variable(rank, dtype="int64", trainable=False)]
            for rank in range(3)
        ]
        both = list(zip(workers, variables, strict=True))
        assert together([lambda w=w, v=v: synchronized(w, v) for w, v in both]) == [True] * 3
        assert [one[0].numpy().tolist() for one in variables] == [[[0] * 3] * 2] * 3
        assert [int(one[1].numpy()) for one in variables] == [0, 0, 0]
        assert together([lambda w=w, v=v: synchronized(w, v) for w, v in both]) == [False] * 3


def test_all_know_after_the_same_exchange_that_one_is_to_stop() -> None:
    with joined(3) as workers:
        calls = [lambda w=w: w.sum(tf.zeros(10)) for w in workers]
        together(calls)
        assert [worker.stopping for worker in workers] == [0, 0, 0]
        workers[1].stop.make(signal.SIGTERM)
        workers[1].stop.make(signal.SIGINT)  # the first counts
        assert [worker.stopping for worker in workers] == [0, 0, 0]
        together(calls)
        assert [worker.stopping for worker in workers] == [signal.SIGTERM] * 3
        together([worker.barrier for worker in workers])
        assert [worker.stopping for worker in workers] == [signal.SIGTERM] * 3


def test_calls_that_differ_are_told() -> None:
    with joined(2) as workers:
        errors = together([workers[0].barrier, lambda: workers[1].gather(1)])
        assert all(isinstance(error, PlatformError) for error in errors)
        assert "worker 1 is at exchange 1 (gather, 0 bytes), worker 0 at 1 (barrier, 0 bytes)" in str(errors[0])


def ended(worker: Any) -> None:
    """As the kernel ends the connections of a process that was killed: it says no more, and they are closed."""
    worker._mesh._pulse._lost = WorkerLostError("dead", worker.rank)
    for link in [*worker._mesh._links.values(), *worker._mesh._pulse._links.values()]:
        link.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("shared", [True, False])
def test_all_name_the_worker_that_was_lost(shared: bool) -> None:
    with joined(3, shared=shared) as workers:
        together([lambda w=w: w.sum(tf.zeros(100)) for w in workers])
        began = time.monotonic()
        calls = [lambda w=w: w.sum(tf.zeros(100)) for w in (workers[0], workers[2])]
        errors = together([*calls, lambda: ended(workers[1])])
        assert time.monotonic() - began < 5
        for error in errors[:2]:
            assert isinstance(error, WorkerLostError)
            assert (error.lost, error.heir) == (1, 0)
            assert str(error) == "worker 1 has ended: its connection is closed"


def test_a_compiled_function_ends_with_the_same_error() -> None:
    with joined(2) as workers:
        step = tf.function(workers[0].sum, autograph=False)

        def guarded() -> None:
            with workers[0].guarded():
                step(tf.zeros(100))

        error, _ = together([guarded, lambda: ended(workers[1])])
        assert isinstance(error, WorkerLostError)
        assert str(error) == "worker 1 has ended: its connection is closed"


def test_errors_of_tensorflow_itself_stay_what_they_are() -> None:
    with joined(2) as workers, pytest.raises(tf.errors.InvalidArgumentError), workers[0].guarded():
        tf.function(lambda x: tf.debugging.check_numerics(x, "x"), autograph=False)(tf.constant(np.nan))


def test_a_worker_that_parts_early_is_named() -> None:
    with joined(2) as workers:
        together([worker.barrier for worker in workers])
        workers[1].close()
        with pytest.raises(WorkerLostError, match="worker 1 has ended its part before the others"):
            workers[0].barrier()


def test_what_was_sent_before_parting_still_arrives() -> None:
    with joined(2) as workers:

        def last() -> None:
            workers[1].sum(np.ones(100_000, "float32"))
            workers[1].close()

        total, _ = together([lambda: workers[0].sum(np.ones(100_000, "float32")), last])
        assert (total.numpy() == 2).all()


def test_silence_is_noticed() -> None:
    (data, far_data), (pulse, far_pulse) = socket.socketpair(), socket.socketpair()
    mesh = Mesh(0, {1: Link(data, pulse)}, silence=1)
    began = time.monotonic()
    with pytest.raises(WorkerLostError, match="worker 1 has said nothing for 2 s: it is stopped or out of reach"):
        mesh.meet("barrier")
    assert time.monotonic() - began < 5
    mesh.close()
    far_data.close()
    far_pulse.close()


@pytest.mark.parametrize("shared", [True, False])
def test_one_that_lives_and_does_not_come_is_noticed(shared: bool) -> None:
    with joined(3, shared=shared, least=2) as workers:
        together([lambda w=w: w.sum(tf.zeros(100)) for w in workers])
        began = time.monotonic()
        errors = together([lambda w=w: w.sum(tf.zeros(100)) for w in (workers[0], workers[2])])
        assert 2 < time.monotonic() - began < 10
        for error in errors:
            assert isinstance(error, WorkerLostError)
            assert (error.lost, error.heir) == (1, 0)
            assert str(error) == "worker 1 gives signs of life, but has kept the others waiting for 3 s: it hangs"


def test_before_the_first_sum_and_while_one_is_busy_there_is_no_limit() -> None:
    with joined(2, least=0.5) as workers:

        def slow(*, first: bool) -> None:
            with contextlib.nullcontext() if first else workers[1].busy():
                time.sleep(5)
            workers[1].sum(tf.zeros(1))

        for first in (True, False):
            if not first:
                workers[0]._mesh._pulse.limit = 2.5  # as if the first had not been slow
            assert together([lambda: workers[0].sum(tf.zeros(1)), lambda f=first: slow(first=f)])[1] is None


def test_the_limit_follows_from_the_slowest_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("eightfold.training.pace.time.monotonic", lambda: now[0])
    pace = Pace(least=120)
    for seconds, adding, limit in [(900, False, math.inf), (30, True, 300), (5, True, 300), (50, False, 500)]:
        now[0] += seconds
        pace.met(adding=adding)
        assert pace.limit == limit
    quick = Pace(least=120)
    quick.met(adding=True)
    assert quick.limit == 120


def test_one_worker_is_its_own_sum() -> None:
    alone = Alone()
    with alone.guarded():
        assert alone.sum(tf.ones(2)).numpy().tolist() == [1, 1]
    assert alone.gather(5) == [5]
    variable = keras.Variable(np.ones(2, "float32"))
    assert not synchronized(alone, [variable])
    alone.barrier()
    alone.close()
