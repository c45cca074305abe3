"""tf.data, iterables, generators and functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.data import Dataset, InputSpec, load
from eightfold.data.recorded import Recorded
from eightfold.data.streams import Once
from eightfold.errors import DataError

X = {"x": InputSpec("x", "float32", (None, 2))}
TWO = {"a": InputSpec("a", "float32", (None, 2)), "b": InputSpec("b", "float32", (None, 2))}
FREE = {"x": InputSpec("x", "float32", (None, None, 2))}


def rows(n: int) -> Any:
    return np.repeat(np.arange(n, dtype=np.float32)[:, None], 2, axis=1)


def values(dataset: Dataset) -> list[int]:
    return [int(v) for batch in dataset for v in batch.inputs["x"][:, 0]]


def counting(n: int, taken: list[int], step: int = 2) -> Iterator[Any]:
    for i in range(0, n, step):
        taken.append(i)
        yield rows(n)[i : i + step]


def test_a_list_of_batches_is_cut_anew() -> None:
    dataset = load([rows(10)[:3], rows(10)[3:10]], inputs=X, batch_size=4)
    assert [b.size for b in dataset] == [4, 4, 2]
    assert values(dataset) == list(range(10)) == values(dataset)
    assert dataset.size is None


def test_single_examples_are_told_by_their_rank() -> None:
    dataset = load(list(rows(5)), inputs=X, batch_size=2)
    assert [b.size for b in dataset] == [2, 2, 1]
    labelled = load([(row, i) for i, row in enumerate(rows(3))], inputs=X)
    (batch,) = labelled
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 2]


def test_dicts_and_labels() -> None:
    batches = [({"b": rows(4), "a": rows(4) + 10}, np.arange(4))] * 2
    first, second = load(batches, inputs=TWO, batch_size=4)
    assert first.inputs["a"][0, 0] == 10
    assert second.labels is not None
    assert second.labels.tolist() == [0, 1, 2, 3]


def test_tuples_for_several_like_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="more than one way"):
        list(load([(rows(4), rows(4))], inputs=TWO))


def test_examples_of_another_shape_begin_a_new_batch() -> None:
    parts = [np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), np.zeros((1, 5, 2))]
    assert [b.inputs["x"].shape for b in load(parts, inputs=FREE, batch_size=8)] == [(2, 3, 2), (1, 5, 2)]


def test_a_wrong_shape_inside_a_stream_names_the_batch() -> None:
    batches = iter(load([rows(2), np.zeros((2, 3))], inputs=X, batch_size=2))
    next(batches)
    with pytest.raises(DataError, match=r"expected 'x' float32\[\?, 2\], received float64\[2, 3\] in batch 1"):
        next(batches)


@pytest.mark.parametrize("element", ["text", None, {"x"}])
def test_elements_that_are_no_arrays(element: Any) -> None:
    with pytest.raises(DataError):
        list(load([element], inputs=X))


def test_some_labels_missing() -> None:
    assert [b.labels is None for b in load([(rows(2), [0, 1]), rows(2)], inputs=X, batch_size=4)] == [
        False,
        True,
    ]


class TestGenerator:
    def test_reads_only_what_is_needed_and_again_from_memory(self) -> None:
        taken: list[int] = []
        dataset = load(counting(100, taken), inputs=X, batch_size=4, samples=6)
        assert values(dataset) == [0, 1, 2, 3, 4, 5]
        assert taken == [0, 2, 4]
        assert values(dataset) == [0, 1, 2, 3, 4, 5]
        assert taken == [0, 2, 4]

    def test_split_without_limit(self) -> None:
        taken: list[int] = []
        rest, held = load(counting(10, taken), inputs=X, batch_size=4).split(3)
        assert values(rest) == [3, 4, 5, 6, 7, 8, 9]
        assert values(held) == [0, 1, 2]
        assert taken == [0, 2, 4, 6, 8]

    def test_too_large_to_keep(self) -> None:
        source = Recorded(Once(counting(10, []), X), limit=40)
        dataset = Dataset(source=source, specs=X, batch_size=2)
        assert values(dataset) == list(range(10))
        assert values(dataset.limited(4)) == [0, 1, 2, 3]
        with pytest.raises(DataError, match="a generator cannot be read again"):
            values(dataset)

    def test_two_readings_side_by_side(self) -> None:
        dataset = load(counting(6, []), inputs=X, batch_size=2)
        pairs = zip(dataset, dataset, strict=True)
        assert [(int(a.inputs["x"][0, 0]), int(b.inputs["x"][0, 0])) for a, b in pairs] == [
            (0, 0),
            (2, 2),
            (4, 4),
        ]

    def test_empty(self) -> None:
        with pytest.raises(DataError, match="the data set is empty"):
            list(load(iter(()), inputs=X))


class TestFunction:
    def test_that_gives_a_generator_is_called_for_every_reading(self) -> None:
        taken: list[int] = []
        dataset = load(lambda: counting(4, taken), inputs=X)
        assert values(dataset) == values(dataset) == [0, 1, 2, 3]
        assert taken == [0, 2, 0, 2]

    def test_that_gives_arrays(self) -> None:
        assert load(lambda: rows(5), inputs=X).size == 5

    def test_by_name_in_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "my_ef_data.py").write_text(
            "import numpy as np\ndef batches():\n    yield np.ones((3, 2))\nTABLE = 3\n"
        )
        monkeypatch.chdir(tmp_path)
        assert values(load("my_ef_data:batches", inputs=X)) == [1, 1, 1]
        with pytest.raises(DataError, match="the module 'my_ef_data' has no 'nothing'"):
            load("my_ef_data:nothing", inputs=X)
        with pytest.raises(DataError, match="must be a function, and it is of type int"):
            load("my_ef_data:TABLE", inputs=X)

    def test_of_no_module(self) -> None:
        with pytest.raises(DataError, match="'no_such_module:f' cannot be imported: No module named"):
            load("no_such_module:f", inputs=X)


class Changing:
    """An iterable that turns its order with every reading."""

    def __init__(self) -> None:
        self.turn = 0

    def __iter__(self) -> Iterator[Any]:
        self.turn += 1
        return iter(np.roll(rows(8), self.turn, axis=0))


def test_split_stays_disjoint_when_the_order_changes() -> None:
    rest, held = load(Changing(), inputs=X, batch_size=3).split(3)
    assert sorted(values(held) + values(rest)) == list(range(8))
    assert not set(values(held)) & set(values(rest))


class TestTensorFlowData:
    def test_batches_and_single_examples(self) -> None:
        tf = pytest.importorskip("tensorflow")
        single = tf.data.Dataset.from_tensor_slices((rows(7), np.arange(7)))
        for dataset in (single, single.batch(3)):
            batches = list(load(dataset, inputs=X, batch_size=4))
            assert [b.size for b in batches] == [4, 3]
            assert np.concatenate([b.labels for b in batches if b.labels is not None]).tolist() == list(range(7))

    def test_dicts(self) -> None:
        tf = pytest.importorskip("tensorflow")
        dataset = tf.data.Dataset.from_tensor_slices({"a": rows(3), "b": rows(3) + 1}).batch(2)
        first, _ = load(dataset, inputs=TWO, batch_size=2)
        assert (first.inputs["b"] - first.inputs["a"] == 1).all()

    def test_endless(self) -> None:
        tf = pytest.importorskip("tensorflow")
        dataset = tf.data.Dataset.from_tensor_slices(rows(3)).repeat()
        assert values(load(dataset, inputs=X, samples=5)) == [0, 1, 2, 0, 1]
        with pytest.raises(DataError, match="repeats for ever"):
            load(dataset, inputs=X)

    def test_shuffled_anew_every_time_still_splits(self) -> None:
        tf = pytest.importorskip("tensorflow")
        dataset = tf.data.Dataset.from_tensor_slices(rows(50)).shuffle(50)
        rest, held = load(dataset, inputs=X, samples=40).split(10)
        assert (len(values(rest)), len(values(held))) == (30, 10)
        assert not set(values(rest)) & set(values(held))
