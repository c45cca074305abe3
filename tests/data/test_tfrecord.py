"""TFRecord files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_files import picture, write

from eightfold.data import InputSpec, load
from eightfold.errors import DataError

tf: Any = pytest.importorskip("tensorflow")

IMAGE = {"image": InputSpec("image", "float32", (None, 8, 8, 3))}
X = {"x": InputSpec("x", "float32", (None, 2, 3))}


@pytest.mark.parametrize("source", [lambda path: path, lambda path: path / "validation-*"])
def test_pictures_named_as_imagenets(tmp_path: Path, source: Callable[[Path], Path]) -> None:
    for part in range(2):
        records = [{"image/encoded": picture(10 * part + i), "image/class/label": 5 + i} for i in range(3)]
        write(tmp_path / f"validation-0000{part}-of-00002", *records)
    first, second = load(str(source(tmp_path)), inputs=IMAGE, batch_size=4)
    assert first.inputs["image"][:, 0, 0, 0].tolist() == [0.0, 1.0, 2.0, 10.0]
    assert first.labels is not None
    assert first.labels.tolist() == [5, 6, 7, 5]
    assert second.size == 2
    assert sum(b.size for b in load(tmp_path / "validation-00001-of-00002", inputs=IMAGE)) == 3


@pytest.mark.parametrize("form", ["numbers", "bytes", "serialized"])
def test_tensors_named_like_the_inputs(tmp_path: Path, form: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = {"numbers": x, "bytes": x.tobytes(), "serialized": tf.io.serialize_tensor(x).numpy()}[form]
    write(tmp_path / "a.tfrecord", {"x": value, "label": 1}, {"x": value, "label": 0})
    (batch,) = load(tmp_path, inputs=X)
    np.testing.assert_array_equal(batch.inputs["x"], np.stack([x, x]))
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 0]


def test_packed(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord.gz", {"x": np.ones(6)})
    assert [b.inputs["x"].sum() for b in load(tmp_path, inputs=X)] == [6.0]


def test_split_and_limit(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord", *({"x": np.full(6, float(i))} for i in range(6)))
    rest, held = load(tmp_path / "a.tfrecord", inputs=X, samples=5).split(2)
    assert [b.inputs["x"][:, 0, 0].tolist() for b in held] == [[0.0, 1.0]]
    assert [b.inputs["x"][:, 0, 0].tolist() for b in rest] == [[2.0, 3.0, 4.0]]


def test_a_missing_feature_names_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord", {"pixels": 1.0, "label": 1})
    with pytest.raises(DataError, match="'x' of the first record in .* is missing; it has: label, pixels"):
        load(tmp_path, inputs=X)


def test_a_wrong_number_of_values(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord", {"x": np.zeros(5)})
    with pytest.raises(DataError, match=r"'x' of record 0 in .* has 5 values; expected 'x' float32\[\?, 2, 3\]"):
        list(load(tmp_path, inputs=X))
    write(tmp_path / "a.tfrecord", {"x": b"12345"})
    with pytest.raises(DataError, match="has 5 bytes, which are no 'x'"):
        list(load(tmp_path, inputs=X))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"this is no TFRecord file at all")
    with pytest.raises(DataError, match=r"a\.tfrecord is not a TFRecord file that can be read"):
        load(tmp_path, inputs=X)
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"\xff\xff\xff")
    with pytest.raises(DataError, match=r"a record of .*a\.tfrecord is not a tf\.train\.Example"):
        load(tmp_path, inputs=X)
    write(tmp_path / "a.tfrecord")
    with pytest.raises(DataError, match="the data set is empty"):
        load(tmp_path, inputs=X)


def test_preprocessing_without_pictures(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord", {"x": np.zeros(6)})
    with pytest.raises(DataError, match="'caffe' is for pictures, and the records have no image/encoded"):
        load(tmp_path, inputs=X, preprocess="caffe")
