"""Arrays, dicts of arrays and .npz files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.data import Dataset, InputSpec, load
from eightfold.errors import DataError

IMAGE = {"image": InputSpec("image", "float32", (None, 4, 4, 3))}
PAIR = {
    "ids": InputSpec("ids", "int32", (None, 8)),
    "mask": InputSpec("mask", "int32", (None, 8)),
}
MIXED = {
    "image": InputSpec("image", "float32", (None, 4, 4, 3)),
    "age": InputSpec("age", "float32", (None, 1)),
}


def images(n: int, dtype: Any = np.float32) -> Any:
    return np.arange(n * 48).reshape(n, 4, 4, 3).astype(dtype)


def sizes(dataset: Dataset) -> list[int]:
    return [batch.size for batch in dataset]


def test_an_array_is_cut_into_batches_in_order() -> None:
    x = images(7)
    dataset = load(x, inputs=IMAGE, batch_size=3)
    assert dataset.size == 7
    assert sizes(dataset) == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([b.inputs["image"] for b in dataset]), x)
    assert all(b.labels is None for b in dataset)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 12), samples=st.integers(1, 50))
def test_batches_hold_the_first_samples_once_each(n: int, batch_size: int, samples: int) -> None:
    spec = {"x": InputSpec("x", "float32", (None, 1))}
    dataset = load(np.arange(n)[:, None], inputs=spec, batch_size=batch_size, samples=samples)
    seen = [batch.inputs["x"][:, 0] for batch in dataset]
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(min(n, samples)))
    assert dataset.size == min(n, samples)
    assert all(len(part) == batch_size for part in seen[:-1])


@given(n=st.integers(2, 40), holdout=st.integers(1, 39), batch_size=st.integers(1, 9))
def test_split_is_disjoint_and_complete(n: int, holdout: int, batch_size: int) -> None:
    spec = {"x": InputSpec("x", "float32", (None, 1))}
    dataset = load(np.arange(n)[:, None], inputs=spec, batch_size=batch_size)
    if holdout >= n:
        with pytest.raises(DataError, match="cannot be held back"):
            dataset.split(holdout)
        return
    rest, held = ({int(v) for b in part for v in b.inputs["x"][:, 0]} for part in dataset.split(holdout))
    assert len(held) == holdout
    assert not rest & held
    assert rest | held == set(range(n))


def test_pictures_in_8_bits_become_floats_unscaled() -> None:
    (batch,) = load(images(2, np.uint8), inputs=IMAGE)
    assert batch.inputs["image"].dtype == np.float32
    assert batch.inputs["image"].max() == 95.0


def test_a_tuple_is_inputs_and_labels() -> None:
    batches = list(load((images(5), np.arange(5)), inputs=IMAGE, batch_size=4))
    assert [b.labels.tolist() for b in batches if b.labels is not None] == [[0, 1, 2, 3], [4]]


def test_a_dict_is_bound_by_name_whatever_its_order() -> None:
    data = {"mask": np.ones((3, 8), np.int64), "ids": np.zeros((3, 8), np.int64)}
    (batch,) = load(data, inputs=PAIR)
    assert list(batch.inputs) == ["ids", "mask"]
    assert batch.inputs["mask"].sum() == 24
    assert batch.inputs["mask"].dtype == np.int32


def test_a_dict_with_labels() -> None:
    data = {"mask": np.ones((3, 8), np.int32), "ids": np.zeros((3, 8), np.int32)}
    (batch,) = load((data, [2, 0, 1]), inputs=PAIR)
    assert batch.labels is not None
    assert batch.labels.tolist() == [2, 0, 1]


def test_wrong_names_are_listed() -> None:
    data = {"ids": np.zeros((3, 8), np.int32), "segments": np.zeros((3, 8), np.int32)}
    with pytest.raises(DataError, match=r"missing: mask; unknown: segments \(the model has: ids, mask\)"):
        load(data, inputs=PAIR)


def test_inputs_of_one_shape_are_never_bound_by_position() -> None:
    arrays = [np.zeros((3, 8), np.int32), np.ones((3, 8), np.int32)]
    for form in (arrays, tuple(arrays)):
        with pytest.raises(DataError, match="more than one way.*give a dict with the inputs' names"):
            load(form, inputs=PAIR)


@pytest.mark.parametrize("swapped", [False, True])
def test_inputs_that_only_fit_one_way_need_no_names(swapped: bool) -> None:
    arrays = [images(3), np.array([[20], [30], [40]])]
    (batch,) = load(arrays[::-1] if swapped else arrays, inputs=MIXED)
    assert batch.inputs["image"].shape == (3, 4, 4, 3)
    assert batch.inputs["age"].ravel().tolist() == [20.0, 30.0, 40.0]


def test_arrays_that_fit_in_no_way() -> None:
    with pytest.raises(DataError, match=r"in no way to the inputs 'image' float32\[\?, 4, 4, 3\]"):
        load([images(3), np.zeros((3, 2))], inputs=MIXED)


def test_one_array_for_several_inputs() -> None:
    with pytest.raises(DataError, match=r"2 inputs \(ids, mask\).*by name.*one array int64\[3, 8\]"):
        load(np.zeros((3, 8), np.int64), inputs=PAIR)


def test_a_wrong_shape_says_which() -> None:
    with pytest.raises(DataError, match=r"'image' float32\[\?, 4, 4, 3\], received float64\[2, 5, 4, 3\]"):
        load(np.zeros((2, 5, 4, 3)), inputs=IMAGE)


def test_different_lengths() -> None:
    data = {"ids": np.zeros((3, 8), np.int32), "mask": np.zeros((4, 8), np.int32)}
    with pytest.raises(DataError, match="different numbers of examples: 'ids': 3, 'mask': 4"):
        load(data, inputs=PAIR)
    with pytest.raises(DataError, match="'image': 3, labels: 2"):
        load((images(3), np.arange(2)), inputs=IMAGE)


def test_floats_do_not_silently_become_whole_numbers() -> None:
    data = {"ids": np.full((3, 8), 0.5), "mask": np.zeros((3, 8), np.int32)}
    with pytest.raises(DataError, match="'ids' takes int32, and the data is float64"):
        list(load(data, inputs=PAIR))


def test_whole_numbers_out_of_range() -> None:
    spec = {"x": InputSpec("x", "uint8", (None, 1))}
    assert [b.inputs["x"].item() for b in load(np.array([[255]]), inputs=spec)] == [255]
    with pytest.raises(DataError, match=r"uint8 \(0 to 255\), and the data has values from -1 to 256"):
        list(load(np.array([[-1], [256]]), inputs=spec))


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_not_finite(value: float, name: str) -> None:
    x = images(6)
    x[4, 1, 2, 0] = value
    batches = iter(load(x, inputs=IMAGE, batch_size=3))
    next(batches)
    with pytest.raises(DataError, match=rf"'image' holds {name} \(batch 1, example 1 of it\)"):
        next(batches)


def test_a_double_too_large_for_a_float() -> None:
    with pytest.raises(DataError, match=r"does not fit into float32: it becomes Inf"):
        list(load(np.full((1, 4, 4, 3), 1e300), inputs=IMAGE))


@pytest.mark.parametrize("source", [np.zeros((0, 4, 4, 3)), {"image": np.zeros((0, 4, 4, 3))}, []])
def test_an_empty_data_set(source: Any) -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        list(load(source, inputs=IMAGE))


class TestFixedBatch:
    SPEC: dict[str, InputSpec] = {"x": InputSpec("x", "float32", (4, 2))}  # noqa: RUF012

    def test_only_full_batches_of_the_models_size(self) -> None:
        dataset = load(np.zeros((11, 2)), inputs=self.SPEC, batch_size=32)
        assert sizes(dataset) == [4, 4]
        assert dataset.size == 8

    def test_too_few_examples(self) -> None:
        with pytest.raises(DataError, match="batches of exactly 4 examples, and the data has fewer"):
            list(load(np.zeros((3, 2)), inputs=self.SPEC))

    def test_split_leaves_full_batches_on_both_sides(self) -> None:
        dataset = load(np.zeros((11, 2)), inputs=self.SPEC)
        rest, held = dataset.split(4)
        assert (sizes(rest), sizes(held)) == ([4], [4])
        with pytest.raises(DataError, match="both parts need some, and the model takes batches of 4"):
            dataset.split(8)

    def test_two_sizes(self) -> None:
        specs = {**self.SPEC, "z": InputSpec("z", "float32", (1, 2))}
        with pytest.raises(DataError, match="do not share one batch size.*'x': 4, 'z': 1"):
            load({"x": np.zeros((4, 2)), "z": np.zeros((1, 2))}, inputs=specs)


def test_an_input_without_batch_axis_goes_with_every_batch() -> None:
    specs = {**IMAGE, "rate": InputSpec("rate", "float32", ())}
    batches = list(load({"image": images(3), "rate": np.float32(0.5)}, inputs=specs, batch_size=2))
    assert [(b.size, float(b.inputs["rate"])) for b in batches] == [(2, 0.5), (1, 0.5)]


def test_strings_and_unknown_ranks() -> None:
    specs = {"text": InputSpec("text", "string", (None,)), "any": InputSpec("any", "float32", None)}
    data = {"text": np.array([b"a", b"bc"], object), "any": np.zeros((2, 3, 1))}
    (batch,) = load(data, inputs=specs)
    assert batch.inputs["text"].tolist() == [b"a", b"bc"]
    assert batch.inputs["any"].shape == (2, 3, 1)


def test_bad_arguments() -> None:
    with pytest.raises(DataError, match="batch size must be 1 or more, not 0"):
        load(images(1), inputs=IMAGE, batch_size=0)
    with pytest.raises(DataError, match="limited to 1 example or more, not to 0"):
        load(images(1), inputs=IMAGE, samples=0)
    with pytest.raises(DataError, match="'tf' is for picture files"):
        load(images(1), inputs=IMAGE, preprocess="tf")
    with pytest.raises(DataError, match="cannot be read from a int"):
        load(3, inputs=IMAGE)


def test_a_data_set_serves_another_model() -> None:
    limited = load(images(5), inputs=IMAGE, samples=3)
    other = {"image": InputSpec("image", "float64", (2, 4, 4, 3))}
    (batch,) = load(limited, inputs=other)
    assert (batch.size, batch.inputs["image"].dtype) == (2, np.float64)
    with pytest.raises(DataError, match="for the inputs image; the model has ids, mask"):
        load(limited, inputs=PAIR)


class TestNpz:
    def test_x_and_y(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x=images(3), y=np.array([1, 0, 2]))
        (batch,) = load(tmp_path / "d.npz", inputs=IMAGE)
        assert batch.size == 3
        assert batch.labels is not None
        assert batch.labels.tolist() == [1, 0, 2]

    def test_names_of_the_inputs(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", mask=np.ones((3, 8), int), ids=np.zeros((3, 8), int))
        (batch,) = load(str(tmp_path / "d.npz"), inputs=PAIR)
        assert batch.inputs["mask"].sum() == 24

    def test_inputs_that_are_called_x_and_y(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x=np.ones((3, 2)), y=np.zeros((3, 2)))
        specs = {name: InputSpec(name, "float32", (None, 2)) for name in "xy"}
        (batch,) = load(tmp_path / "d.npz", inputs=specs)
        assert batch.labels is None
        assert batch.inputs["x"].sum() == 6

    def test_wrong_names(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x_train=images(1))
        with pytest.raises(DataError, match="missing: image; unknown: x_train"):
            load(tmp_path / "d.npz", inputs=IMAGE)

    def test_corrupt(self, tmp_path: Path) -> None:
        path = tmp_path / "d.npz"
        np.savez(path, x=images(3))
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(DataError, match=r"d\.npz is not an \.npz file that can be read"):
            load(path, inputs=IMAGE)

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "d.npz").write_text("1, 2, 3")
        with pytest.raises(DataError, match=r"d\.npz is not an \.npz file that can be read: it is no zip archive"):
            load(tmp_path / "d.npz", inputs=IMAGE)

    def test_damaged_inside(self, tmp_path: Path) -> None:
        path = tmp_path / "d.npz"
        np.savez_compressed(path, x=np.random.default_rng(0).random((3, 4, 4, 3)))
        data = bytearray(path.read_bytes())
        data[300:320] = bytes(20)
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"d\.npz is not an \.npz file that can be read"):
            load(path, inputs=IMAGE)

    def test_an_npy_file_in_disguise(self, tmp_path: Path) -> None:
        with (tmp_path / "d.npz").open("wb") as file:
            np.save(file, images(2))
        with pytest.raises(DataError, match=r"holds one array without a name; expected an \.npz file"):
            load(tmp_path / "d.npz", inputs=IMAGE)

    def test_pickled_objects_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x=np.array([{}], object))
        with pytest.raises(DataError, match="can be read"):
            load(tmp_path / "d.npz", inputs=IMAGE)


def test_paths_that_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*missing\.npz"):
        load(tmp_path / "missing.npz", inputs=IMAGE)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt is of no known kind; expected an \.npz or \.npy file"):
        load(tmp_path / "notes.txt", inputs=IMAGE)
