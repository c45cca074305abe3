"""Folders of pictures, preprocessing, sample photographs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eightfold.data import InputSpec, load, preprocessing, sample_photos
from eightfold.errors import DataError, MissingExtraError


def spec(*shape: int | None, dtype: str = "float32") -> dict[str, InputSpec]:
    return {"image": InputSpec("image", dtype, (None, *shape))}


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name, count in (("cat", 3), ("ant", 1), ("bee", 2)):
        for i in range(count):
            paint(tmp_path / name / f"{i}.png", (10 * i, 20, 30))
    return tmp_path


def test_sub_folders_are_classes_that_take_turns(classes: Path) -> None:
    dataset = load(classes, inputs=spec(8, 8, 3), batch_size=4)
    batches = list(dataset)
    assert dataset.size == 6
    assert [b.inputs["image"].shape for b in batches] == [(4, 8, 8, 3), (2, 8, 8, 3)]
    labels = [int(v) for b in batches if b.labels is not None for v in b.labels]
    assert labels == [0, 1, 2, 1, 2, 2]
    assert batches[0].inputs["image"][0, 0, 0].tolist() == [0.0, 20.0, 30.0]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", (2, 2, 2))
    paint(tmp_path / "a.PNG", (1, 1, 1))
    (tmp_path / "readme.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (batch,) = load(tmp_path, inputs=spec(8, 8, 3))
    assert batch.labels is None
    assert batch.inputs["image"][:, 0, 0, 0].tolist() == [1.0, 2.0]


def test_mixed_and_empty_folders(tmp_path: Path, classes: Path) -> None:
    paint(classes / "loose.png", (0, 0, 0))
    with pytest.raises(DataError, match="both directly and in sub-folders"):
        load(classes, inputs=spec(8, 8, 3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no pictures"):
        load(tmp_path / "empty", inputs=spec(8, 8, 3))


def test_a_corrupt_picture_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (1, 1, 1))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    with pytest.raises(DataError, match=r"b\.jpg cannot be read"):
        list(load(tmp_path, inputs=spec(8, 8, 3)))


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jpg cannot be read: image file is truncated"):
        list(load(tmp_path, inputs=spec(8, 8, 3)))


def test_the_centre_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 200  # the middle third of a wide picture
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (batch,) = load(tmp_path, inputs=spec(56, 56, 3))
    assert batch.inputs["image"].min() == 200.0


@pytest.mark.parametrize(
    ("size", "resized", "corner"), [((500, 375), (341, 256), (58, 16)), ((200, 300), (256, 384), (16, 80))]
)
def test_the_usual_crop_of_imagenet(
    tmp_path: Path, size: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int]
) -> None:
    # The shorter side to 256 pixels = 224 / 0.875, then the central 224 x 224.
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8))
    picture.save(tmp_path / "a.png")
    left, top = corner
    expected = picture.resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    (batch,) = load(tmp_path, inputs=spec(224, 224, 3))
    np.testing.assert_array_equal(batch.inputs["image"][0], np.asarray(expected))


def test_a_picture_of_the_right_size_is_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (batch,) = load(tmp_path, inputs=spec(8, 8, 3, dtype="uint8"))
    np.testing.assert_array_equal(batch.inputs["image"][0], pixels)
    assert batch.inputs["image"].dtype == np.uint8


def test_whole_number_inputs_refuse_scaled_pictures(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (1, 2, 3))
    with pytest.raises(DataError, match="'image' takes uint8, and the data is float32"):
        list(load(tmp_path, inputs=spec(8, 8, 3, dtype="uint8"), preprocess="tf"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 8, 1), (1, 8, 8, 1)),
        ((3, 8, 6), (1, 3, 8, 6)),
        ((8, 6, None), (1, 8, 6, 3)),
        ((8, 8, 4), (1, 8, 8, 4)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int | None, ...], expected: tuple[int, ...]) -> None:
    paint(tmp_path / "a.png", (10, 10, 10))
    (batch,) = load(tmp_path, inputs=spec(*shape))
    assert batch.inputs["image"].shape == expected
    assert batch.inputs["image"].ravel()[0] == 10.0


def test_free_size_keeps_a_common_size(tmp_path: Path) -> None:
    for name in "ab":
        paint(tmp_path / f"{name}.png", (1, 1, 1), size=(40, 30))
    dataset = load(tmp_path, inputs=spec(None, None, 3))
    assert next(iter(dataset)).inputs["image"].shape == (2, 30, 40, 3)
    assert dataset.notes == ("the model takes any picture size: the pictures keep their own",)


def test_free_size_makes_different_pictures_224(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (1, 1, 1), size=(40, 30))
    paint(tmp_path / "b.png", (1, 1, 1), size=(30, 40))
    dataset = load(tmp_path, inputs=spec(None, None, 3))
    assert next(iter(dataset)).inputs["image"].shape == (2, 224, 224, 3)
    assert "224 x 224" in dataset.notes[0]


def test_numbered_classes_get_a_note_when_text_order_differs(tmp_path: Path) -> None:
    for name in ("2", "10"):
        paint(tmp_path / name / "a.png", (1, 1, 1))
    assert "10, 2" in load(tmp_path, inputs=spec(8, 8, 3)).notes[0]


def test_models_that_take_no_pictures(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (1, 1, 1))
    with pytest.raises(DataError, match=r"input of rank 4.*'image' float32\[\?, 10\]"):
        load(tmp_path, inputs=spec(10))
    with pytest.raises(DataError, match="1, 3 or 4 channels"):
        load(tmp_path, inputs=spec(8, 8, 7))
    two = {**spec(8, 8, 3), "age": InputSpec("age", "float32", (None, 1))}
    with pytest.raises(DataError, match="a model of one input, and this one has 2: image, age"):
        load(tmp_path, inputs=two)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "a.png", (1, 1, 1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'eightfold\[images\]'"):
        load(tmp_path, inputs=spec(8, 8, 3))


class TestPreprocessing:
    PIXEL = np.array([[[255.0, 0.0, 127.5]]], np.float32)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("raw", [255.0, 0.0, 127.5]),
            ("tf", [1.0, -1.0, 0.0]),
            ("torch", [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.5 - 0.406) / 0.225]),
            ("caffe", [127.5 - 103.939, -116.779, 255 - 123.68]),
        ],
    )
    def test_values(self, name: str, expected: list[float]) -> None:
        result = preprocessing(name)(self.PIXEL)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result[0, 0], expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
    def test_equal_to_keras(self, mode: str) -> None:
        keras = pytest.importorskip("keras")
        module = {"tf": "mobilenet_v2", "torch": "densenet", "caffe": "resnet50"}[mode]
        pixels = np.random.default_rng(3).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
        expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
        np.testing.assert_allclose(preprocessing(mode)(pixels), expected, rtol=1e-5, atol=1e-4)

    def test_unknown(self) -> None:
        with pytest.raises(DataError, match="unknown preprocessing 'imagenet'; expected raw, tf, torch, caffe or"):
            preprocessing("imagenet")

    def test_three_colours(self) -> None:
        with pytest.raises(DataError, match="'caffe' is for 3 colours, and the pictures have 1"):
            preprocessing("caffe")(np.zeros((2, 2, 1), np.float32))

    def test_the_users_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "my_ef_pixels.py").write_text("def half(pixels):\n    return pixels / 2\n")
        paint(tmp_path / "pictures" / "a.png", (10, 20, 30))
        monkeypatch.chdir(tmp_path)
        (batch,) = load("pictures", inputs=spec(8, 8, 3), preprocess="my_ef_pixels:half")
        assert batch.inputs["image"][0, 0, 0].tolist() == [5.0, 10.0, 15.0]


class TestSamplePhotos:
    def test_the_same_every_time_and_all_different(self) -> None:
        photos: Any = sample_photos(9, side=32)
        assert (photos.shape, photos.dtype) == ((9, 32, 32, 3), np.uint8)
        np.testing.assert_array_equal(photos, sample_photos(9, side=32))
        np.testing.assert_array_equal(photos[:3], sample_photos(3, side=32))
        assert len({photo.tobytes() for photo in photos}) == 9
        assert photos.reshape(9, -1).std(axis=1).min() > 5

    def test_nothing(self) -> None:
        with pytest.raises(DataError, match="positive number of pictures"):
            sample_photos(0)
