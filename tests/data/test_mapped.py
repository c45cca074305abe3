"""Files that are read a piece at a time: .npy, .npz, and TFRecord files from the middle on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eightfold.data import InputSpec, load
from eightfold.data.arrays import ArraySource
from eightfold.data.mapped import arrays_of, mapped_npy
from eightfold.data.pictures import decoder
from eightfold.data.record_index import record_index, records_from
from eightfold.errors import DataError

SPECS = {"x": InputSpec("x", "float32", (None, 2))}


def test_what_is_stored_is_mapped_and_what_is_compressed_is_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    for save, mapped in ((np.savez, True), (np.savez_compressed, False)):
        save(tmp_path / "d.npz", x=values, y=np.asfortranarray(values.astype(">i4")), empty=np.zeros((0, 2)))
        found = arrays_of(tmp_path / "d.npz")
        np.testing.assert_array_equal(found["x"], values)
        np.testing.assert_array_equal(found["y"], values)
        assert found["empty"].shape == (0, 2)
        assert isinstance(found["x"], np.memmap) is mapped


def test_an_npy_file_is_data_for_a_model_of_one_input(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "d.npy", values)
    dataset = load(tmp_path / "d.npy", inputs=SPECS, batch_size=2)
    assert isinstance(dataset.source, ArraySource)
    assert dataset.source.mapped
    np.testing.assert_array_equal(np.concatenate([batch.inputs["x"] for batch in dataset]), values)
    with pytest.raises(DataError, match="2 inputs"):
        load(tmp_path / "d.npy", inputs={**SPECS, "z": InputSpec("z", "float32", (None, 2))})


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x07\x00 ", b"\x93NUMPY\x01\x00"])
def test_npy_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"d\.npy is not an \.npy file that can be read"):
        mapped_npy(tmp_path / "d.npy")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([{}], object))
    with pytest.raises(DataError, match="it holds Python objects, which are not read from files"):
        mapped_npy(tmp_path / "d.npy")


@pytest.fixture
def records(tmp_path: Path) -> list[Path]:
    """20 records in 3 files, one of them empty."""
    import tensorflow as tf

    files = [tmp_path / f"{name}.tfrecord" for name in "abc"]
    for file, numbers in zip(files, (range(13), range(0), range(13, 20)), strict=True):
        with tf.io.TFRecordWriter(str(file)) as writer:
            for number in numbers:
                writer.write(b"%d" % number * number)
    return files


@pytest.mark.parametrize("every", [1, 4, 100])
def test_reading_begins_at_any_record(records: list[Path], every: int) -> None:
    index = record_index(records, every)
    assert index.rows == 20
    for row in range(20):
        first, number, offset = index.before(row)
        assert first <= row < first + every
        found = [record for _, record in records_from(records[number:], offset)]
        assert found == [b"%d" % n * n for n in range(first, 20)]


def test_a_record_that_is_cut_off_or_damaged(records: list[Path]) -> None:
    whole = records[0].read_bytes()
    records[0].write_bytes(whole[:-3])
    with pytest.raises(DataError, match=r"a\.tfrecord is not a whole TFRecord file: its end, byte \d+, is inside"):
        record_index(records, 1)
    index = record_index(records[1:], 1)
    assert index.rows == 7
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    records[0].write_bytes(damaged)
    _, number, offset = record_index(records, 1).before(12)
    with pytest.raises(DataError, match=r"a\.tfrecord is not a TFRecord file that can be read: .*corrupted record"):
        list(records_from(records[number:], offset))


def photograph(width: int, height: int) -> Image.Image:
    """Smooth, as photographs mostly are."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [127 + 120 * np.sin(x / (90 + 20 * c)) * np.cos(y / (70 + 30 * c)) for c in range(3)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def test_a_large_jpeg_is_decoded_at_part_of_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph(2400, 1600).save(tmp_path / "large.jpg", quality=95)
    photograph(2400, 1600).save(tmp_path / "large.png")
    decode = decoder({"x": InputSpec("x", "float32", (None, 96, 96, 3))}, None)
    sizes = []
    convert = Image.Image.convert

    def noted(self: Image.Image, *arguments: object) -> Image.Image:
        sizes.append(self.size)
        return convert(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "convert", noted)
    jpeg, png = (decode(tmp_path / name, name) for name in ("large.jpg", "large.png"))
    assert sizes == [(600, 400), (2400, 1600)]
    assert np.abs(jpeg.astype(float) - png).max() <= 4


def test_pixels_that_nothing_is_done_to_stay_bytes(tmp_path: Path) -> None:
    photograph(96, 96).save(tmp_path / "p.png")
    spec = {"x": InputSpec("x", "float32", (None, 96, 96, 3))}
    assert decoder(spec, "raw")(tmp_path / "p.png", "p").dtype == np.uint8
    assert decoder(spec, "tf")(tmp_path / "p.png", "p").dtype == np.float32
    (batch,) = load(tmp_path, inputs=spec)
    assert batch.inputs["x"].dtype == np.float32
