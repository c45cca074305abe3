"""The part of a picture that training keeps is the one that evaluation sees, and a margin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from picture_files import pixels, write
from PIL import Image

from eightfold.data.pictures import CROP, Decoder, resized
from eightfold.data.preprocess import raw
from eightfold.data.spec import InputSpec
from eightfold.data.square import Square, window
from eightfold.errors import DataError
from eightfold.graph.ir import Array


def centre(stored: Array, square: Square) -> Array:
    at = square.corner
    return stored[at : at + square.size, at : at + square.size]


def seen(picture: Path | bytes, size: int, channels: int = 3) -> Array:
    spec = InputSpec("x", "uint8", (None, size, size, channels))
    return Decoder(spec, channels, False, size, size, raw)(picture, "picture")


@pytest.mark.parametrize("size", [*range(1, 40), 96, 97, 128, 160, 224, 299])
def test_the_centre_is_what_evaluation_sees(size: int) -> None:
    square = Square(size)
    for height, width in [(30, 40), (41, 30), (33, 33), (100, 37), (500, 375), (size, size), (size, size + 1)]:
        array = pixels(size, height, width)
        made = np.empty(square.shape, np.uint8)
        square.write(array, "picture", made)
        np.testing.assert_array_equal(centre(made, square), np.asarray(resized(Image.fromarray(array), size, size)))


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp"])
def test_files_too(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path / f"a.{kind}", pixels(5, 700, 900), kind)
    square = Square(64)
    for data in (file, file.read_bytes()):  # a large JPEG file is decoded at a quarter of its size
        made = np.empty(square.shape, np.uint8)
        assert square.write(data, "a", made) == kind.upper()
        np.testing.assert_array_equal(centre(made, square), seen(data, 64))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "I;16"])
def test_any_mode(tmp_path: Path, mode: str, channels: int) -> None:
    picture = Image.fromarray(pixels(6)).convert("L" if mode == "I;16" else "RGB").convert(mode)
    picture.save(tmp_path / "a.tif")
    square = Square(16, channels)
    made = np.empty(square.shape, np.uint8)
    square.write(tmp_path / "a.tif", "a", made)
    np.testing.assert_array_equal(centre(made, square), seen(tmp_path / "a.tif", 16, channels))


def test_the_margin_is_the_picture_around(tmp_path: Path) -> None:
    square = Square(28)
    assert square.stored == 32 == round(28 / CROP)
    array = pixels(7, 32, 48)
    made = np.empty(square.shape, np.uint8)
    square.write(array, "a", made)
    np.testing.assert_array_equal(made, array[:, 8:40])


def test_a_picture_of_the_size_itself_is_mirrored_at_its_edges() -> None:
    square = Square(28)
    array = pixels(8, 28, 28)
    made = np.empty(square.shape, np.uint8)
    square.write(array, "a", made)
    np.testing.assert_array_equal(made, np.pad(array, ((2, 2), (2, 2), (0, 0)), mode="reflect"))


def test_without_margin() -> None:
    square = Square(28, margin=False)
    assert square.shape == (28, 28, 3)
    array = pixels(9, 28, 28)
    made = np.empty(square.shape, np.uint8)
    square.write(array.astype(np.float64), "a", made)
    np.testing.assert_array_equal(made, array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((8, 8, 3), 0.5), "pixels of a are float64 from 0.5 to 0.5; expected whole numbers from 0 to 255"),
        (np.full((8, 8, 3), 256), "pixels of a are int64 from 256 to 256"),
        (np.full((8, 8, 3), -1.0), "from -1 to -1"),
        (np.full((8, 8, 3), np.nan), "not all of them finite"),
    ],
)
def test_pixels_that_are_no_bytes(array: Array, message: str) -> None:
    square = Square(8)
    with pytest.raises(DataError, match=message):
        square.write(array, "a", np.empty(square.shape, np.uint8))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (2, 3), (-4, 1), (3, -7), (9, 9), (-15, 20)])
def test_windows_beyond_an_edge(top: int, left: int) -> None:
    array = pixels(1, 12, 10)
    padded = np.pad(array, ((30, 30), (30, 30), (0, 0)), mode="reflect")
    expected = padded[30 + top : 38 + top, 30 + left : 38 + left]
    np.testing.assert_array_equal(window(array, top, left, 8), expected)


def test_windows_of_one_pixel() -> None:
    array = np.full((1, 1, 3), 7, np.uint8)
    np.testing.assert_array_equal(window(array, -1, 0, 3), np.full((3, 3, 3), 7))
