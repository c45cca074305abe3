from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.bench import Runtime, Settings, compare
from eightfold.bench.protocol import Job, Refusal
from eightfold.bench.worker import load, synthetic
from eightfold.errors import ModelError


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", 0, 1), ("float64", 0, 1), ("int64", 0, 1), ("uint8", 0, 1), ("bool", 0, 1)],
)
def test_synthetic_values(dtype: str, low: float, high: float) -> None:
    x = synthetic({"x": ([None, 5], dtype)}, 64)["x"]
    assert x.shape == (64, 5)
    assert x.dtype == dtype
    assert low <= x.min() < x.max() <= high


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ([None, None, None, 3], (8, 224, 224, 3)),
        ([8, 32, None, 1], (8, 32, 224, 1)),
        ([None, None], (8, 1)),
        ([None], (8,)),
        ([], ()),
        ([1], (1,)),
    ],
)
def test_synthetic_shapes(shape: list[int | None], made: tuple[int, ...]) -> None:
    assert synthetic({"x": (shape, "float32")}, 8)["x"].shape == made


def test_synthetic_strings_and_refusals() -> None:
    assert synthetic({"x": ([None], "string")}, 2)["x"].tolist() == [b"", b""]
    with pytest.raises(Refusal, match="takes batches of 4, not of 8"):
        synthetic({"x": ([4, 3], "float32")}, 8)
    with pytest.raises(Refusal, match="'x' is of resource"):
        synthetic({"x": ([None], "resource")}, 8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two inputs: scores = images @ weights + ages, twice = 2 * ages."""
    import tensorflow as tf

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.ones((4, 3)))

        @tf.function  # type: ignore[untyped-decorator]
        def __call__(self, images: Any, ages: Any) -> dict[str, Any]:
            return {"scores": images @ self.weights + tf.cast(ages, tf.float32), "twice": 2 * ages}

    model = Model()
    wanted = model.__call__.get_concrete_function(
        images=tf.TensorSpec((None, 4), tf.float32), ages=tf.TensorSpec((None, 1), tf.int32)
    )
    folder = tmp_path_factory.mktemp("model") / "two-inputs"
    tf.saved_model.save(model, os.fspath(folder), signatures={"serving_default": wanted})
    return folder


def outputs(job: Job) -> list[Any]:
    result: Any = load(job)[0]()
    return sorted(result, key=lambda array: array.shape[-1])


def test_runs_a_saved_model_on_given_data(saved: Path, tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.float32).reshape(3, 4)
    ages = np.array([[1], [2], [3]], np.int32)
    np.savez(tmp_path / "feeds.npz", images=images, ages=ages)
    twice, scores = outputs(Job(str(saved), 4, intra=1, inter=1, feeds=str(tmp_path / "feeds.npz")))
    # A batch of four from three examples: the first comes again.
    assert twice.ravel().tolist() == [2, 4, 6, 2]
    assert scores[:, 0].tolist() == [7, 24, 41, 7]


def test_given_data_is_used_batch_by_batch_and_again_from_the_front(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "feeds.npz"
    np.savez(path, images=np.zeros((5, 4), np.float32), ages=np.arange(5, dtype=np.int32)[:, None])
    run: Any = load(Job(str(saved), 2, feeds=str(path)))[0]
    turns = [min(run(), key=lambda array: array.shape[-1]).ravel().tolist() for _ in range(3)]
    assert turns == [[0, 2], [4, 6], [0, 2]]  # the fifth example makes no whole batch


def test_refuses_data_that_does_not_fit(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "feeds.npz"
    np.savez(path, images=np.zeros((2, 4), np.float32))
    with pytest.raises(Refusal, match="lacks the input 'ages'; it has images"):
        load(Job(str(saved), 2, feeds=str(path)))
    np.savez(path, images=np.zeros((2, 5), np.float32), ages=np.zeros((2, 1), np.int32))
    with pytest.raises(Refusal, match=r"'images' takes float32\[\?, 4\]; the data is float32\[2, 5\]"):
        load(Job(str(saved), 2, feeds=str(path)))
    np.savez(path, images=np.zeros((2, 4), np.float32), ages=np.zeros((2, 1), np.int64))
    with pytest.raises(Refusal, match=r"'ages' takes int32"):
        load(Job(str(saved), 2, feeds=str(path)))


def test_runs_a_frozen_graph(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2), "x")
        tf.add(x, tf.constant(1.0), "y")
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    (y,) = outputs(Job(str(path), 3))
    assert y.shape == (3, 2)
    assert 1 <= y.min() < y.max() < 2


def test_compares_in_processes_of_their_own(saved: Path) -> None:
    quick = Settings(rounds=2, seconds=0, least=2, warm_up=0)
    first, second = compare([saved, saved], quick, runtime=Runtime(batch_size=2, intra=1, inter=1)).measurements
    assert "tensorflow" in first.versions
    assert first.timing.runs == second.timing.runs == 4
    assert first.size_mb > 0
    assert first.peak_mb > 50


def test_an_unknown_signature_is_named_with_the_known_ones(saved: Path) -> None:
    with pytest.raises(ModelError, match="no signature 'predict'; it has: serving_default"):
        compare([saved], Settings(signature="predict"))
