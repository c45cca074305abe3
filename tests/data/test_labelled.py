"""Labelled pictures of every form, decoded once; what cannot be read is named."""

from __future__ import annotations

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import class_folders, encoded, pixels, write
from PIL import Image

from eightfold.data import InputSpec, load, read_labelled
from eightfold.data import labelled as module
from eightfold.data.decoding import Misnamed, Skipped
from eightfold.data.labelled import Labelled
from eightfold.errors import DataError, OutputError
from eightfold.system.memory import Memory


def reasons(data: Labelled) -> dict[str, str]:
    return {each.name: each.reason for each in data.skipped}


def centres(data: Labelled) -> Any:
    at = (data.pixels.shape[1] - data.size) // 2
    return data.pixels[:, at : at + data.size, at : at + data.size]


def same(one: Labelled, other: Labelled) -> None:
    for name in ("pixels", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("classes", "names", "skipped", "misnamed", "size"):
        assert getattr(one, name) == getattr(other, name)


class TestFolders:
    def test_classes_are_sub_folders(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"cat": 3, "ant": 1, "bee": 2})
        write(tmp_path / "cat" / "notes.txt", b"no picture")
        write(tmp_path / "cat" / ".DS_Store", b"no picture")
        told: list[tuple[str, int, int | None]] = []
        data = read_labelled(tmp_path, size=16, progress=lambda *state: told.append(state))
        assert data.classes == ("ant", "bee", "cat")
        assert data.counts == {"ant": 1, "bee": 2, "cat": 3}
        assert data.labels.tolist() == [0, 1, 2, 1, 2, 2]
        assert data.names[:2] == ("ant/000.jpeg", "bee/000.jpeg")
        assert (data.pixels.shape, data.pixels.dtype, data.labels.dtype) == ((6, 18, 18, 3), np.uint8, np.int64)
        assert (data.skipped, data.misnamed) == ((), ())
        assert told == [("decode", done, 6) for done in range(1, 7)]

    @pytest.mark.parametrize("threads", [1, 3])
    def test_the_rows_are_those_of_evaluation(self, tmp_path: Path, threads: int) -> None:
        class_folders(tmp_path, {"a": 9, "b": 4}, (90, 130))
        (batch,) = load(tmp_path, inputs={"x": InputSpec("x", "uint8", (None, 16, 16, 3))})
        data = read_labelled(tmp_path, size=16, threads=threads)
        np.testing.assert_array_equal(centres(data), batch.inputs["x"])
        np.testing.assert_array_equal(data.labels, batch.labels)

    def test_broken_pictures_are_skipped_by_name(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 4, "b": 4})
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        jpeg = encoded(noise, "jpeg")
        write(tmp_path / "a" / "000a.jpg", jpeg[: len(jpeg) // 2])
        write(tmp_path / "a" / "000b.jpg", b"")
        write(tmp_path / "b" / "0.png", b"a text that is called a picture")
        write(tmp_path / "b" / "z.png", encoded(noise, "png")[:2000])
        data = read_labelled(tmp_path, size=16)
        assert [each.name for each in data.skipped] == ["b/0.png", "a/000a.jpg", "a/000b.jpg", "b/z.png"]
        assert "truncated" in reasons(data)["a/000a.jpg"]
        assert reasons(data)["a/000b.jpg"] == "it is empty"
        assert reasons(data)["b/0.png"] == "it is no picture of a known kind"
        assert "truncated" in reasons(data)["b/z.png"]
        for name in reasons(data):
            (tmp_path / name).unlink()
        whole = read_labelled(tmp_path, size=16)  # another order: classes take turns
        order = [whole.names.index(name) for name in data.names]
        np.testing.assert_array_equal(data.pixels, whole.pixels[order])
        np.testing.assert_array_equal(data.labels, whole.labels[order])

    def test_files_that_are_not_what_their_name_says(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 2, "b": 2})
        write(tmp_path / "a" / "x.jpg", pixels(1), "png")
        write(tmp_path / "b" / "y.PNG", pixels(1), "png")
        data = read_labelled(tmp_path, size=16)
        assert data.misnamed == (Misnamed("a/x.jpg", "PNG"),)
        first, second = (data.names.index(name) for name in ("a/x.jpg", "b/y.PNG"))
        np.testing.assert_array_equal(data.pixels[first], data.pixels[second])

    def test_what_a_camera_appends_makes_no_other_kind(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 1, "b": 1})
        pictures = [Image.fromarray(pixels(seed)) for seed in (1, 2)]
        buffer = io.BytesIO()
        pictures[0].save(buffer, "MPO", save_all=True, append_images=pictures[1:])
        write(tmp_path / "a" / "x.jpg", buffer.getvalue())
        assert read_labelled(tmp_path, size=16).misnamed == ()

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says what it thinks of damaged EXIF data
    def test_random_damage_never_ends_it(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        class_folders(tmp_path, {"a": 1, "b": 1})
        for kind in ("jpeg", "png", "gif", "bmp", "tiff", "webp"):
            whole = encoded(pixels(3), kind)
            for number in range(25):
                damaged = np.frombuffer(whole, np.uint8).copy()
                at = rng.integers(0, len(damaged) if number % 2 else 64, 6)
                damaged[at] = rng.integers(0, 256, 6)
                write(tmp_path / "a" / f"{kind}{number:02}.{kind}", damaged.tobytes())
        data = read_labelled(tmp_path, size=16)
        assert len(data.skipped) + len(data.names) == 152
        assert len(data.skipped) > 20
        assert all(each.reason for each in data.skipped)

    def test_all_of_a_class_broken(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 2})
        write(tmp_path / "b" / "x.png", b"")
        with pytest.raises(
            DataError, match=r"none of the 1 pictures of class 'b' can be read; .*b/x\.png: it is empty"
        ):
            read_labelled(tmp_path, size=16)
        for file in (tmp_path / "a").iterdir():
            file.write_bytes(b"-")
        with pytest.raises(DataError, match="none of 3 pictures can be read"):
            read_labelled(tmp_path, size=16)

    def test_one_class_or_none(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 2})
        with pytest.raises(DataError, match="all pictures are of the class 'a'; expected two classes or more"):
            read_labelled(tmp_path, size=16)
        with pytest.raises(DataError, match="have no labels; expected a sub-folder for each class"):
            read_labelled(tmp_path / "a", size=16)

    def test_a_class_without_pictures(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 2, "b": 2})
        (tmp_path / "thumbnails").mkdir()
        with pytest.raises(DataError, match="has sub-folders without pictures: thumbnails"):
            read_labelled(tmp_path, size=16)

    def test_classes_that_are_known(self, tmp_path: Path) -> None:
        class_folders(tmp_path, {"a": 2, "b": 2})
        data = read_labelled(tmp_path, size=16, classes=("b", "x", "a"))
        assert data.classes == ("b", "x", "a")
        assert data.labels.tolist() == [2, 0, 2, 0]
        assert data.counts == {"b": 2, "x": 0, "a": 2}
        assert set(data.class_weights()) == {0, 2}
        with pytest.raises(DataError, match="classes that are not expected: b; expected a, c"):
            read_labelled(tmp_path, size=16, classes=("a", "c"))
        with pytest.raises(DataError, match="not all different: a, b, a"):
            read_labelled(tmp_path, size=16, classes=("a", "b", "a"))

    @pytest.mark.parametrize(("name", "value"), [("size", 0), ("channels", 2), ("threads", 0)])
    def test_options_that_make_no_sense(self, tmp_path: Path, name: str, value: int) -> None:
        with pytest.raises(DataError, match="expected a size and a number of threads of 1 or more"):
            read_labelled(tmp_path, **{"size": 16, name: value})

    def test_no_more_pictures_are_in_memory_than_threads_need(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from eightfold.data import decoding, examples

        class_folders(tmp_path, {"a": 20, "b": 20})
        given = examples.examples(tmp_path, 3)
        done: list[int] = []
        ahead: list[int] = []

        def read() -> Any:
            for number, example in enumerate(given.read()):
                ahead.append(number - len(done))
                yield example

        square = module.Square(16)
        watched = examples.Examples(given.count, read)
        decoding.decode(watched, square, np.empty((40, *square.shape), np.uint8), 2, lambda *_: done.append(1))
        assert max(ahead) == 2 * decoding.AHEAD
        assert len(done) == 40


class TestArrays:
    def test_arrays_of_the_right_size_are_taken_as_they_are(self) -> None:
        x, y = np.stack([pixels(seed, 16, 16) for seed in range(6)]), np.array([[0], [1], [2], [0], [1], [2]])
        data = read_labelled((x, y), size=16)
        assert np.shares_memory(data.pixels, x)
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2]
        assert data.classes == ("0", "1", "2")
        assert data.names[5] == "example 5"

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_others_are_resized(self, channels: int) -> None:
        x = np.stack([pixels(seed, 40, 30, channels) for seed in range(4)])
        data = read_labelled((x, [0, 1, 0, 1]), size=16, channels=channels)
        assert data.pixels.shape == (4, 18, 18, channels)
        floats = read_labelled((x.astype(np.float32), [0, 1, 0, 1]), size=16, channels=channels)
        same(data, floats)

    def test_npz(self, tmp_path: Path) -> None:
        x = np.stack([pixels(seed, 16, 16) for seed in range(4)])
        np.savez(tmp_path / "a.npz", x=x, y=np.array(["cat", "ant", "cat", "ant"]))
        data = read_labelled(tmp_path / "a.npz", size=16)
        np.testing.assert_array_equal(data.pixels, x)
        assert isinstance(data.pixels, np.memmap)
        assert data.classes == ("ant", "cat")
        assert data.labels.tolist() == [1, 0, 1, 0]

    def test_a_function(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class_folders(tmp_path / "pictures", {"a": 2, "b": 2})
        write(tmp_path / "pictures" / "a" / "0.png", b"")  # the first one: not looked at to find the size
        (tmp_path / "my_ef_labelled.py").write_text(
            "import numpy as np\n"
            "def folder():\n    return 'pictures'\n"
            "def arrays():\n    return np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 1, 1])\n"
            "def batches():\n"
            "    for at in range(3):\n"
            "        yield np.full((2, 8, 8, 3), at, np.uint8), np.array([0, 1])\n"
        )
        monkeypatch.chdir(tmp_path)
        assert read_labelled("my_ef_labelled:folder", size=8).counts == {"a": 2, "b": 2}
        assert read_labelled("my_ef_labelled:arrays", size=8).counts == {"0": 1, "1": 3}
        stream = read_labelled("my_ef_labelled:batches", size=8)
        assert stream.pixels[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
        with pytest.raises(DataError, match="a stream cannot be told again; expected files or arrays"):
            read_labelled("my_ef_labelled:batches", size=8, cache="disk", cache_folder=tmp_path / "cache")

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0, 1, -1, 0], "whole numbers from 0 on, or names, one for each picture; received -1"),
            ([0, 1, 0.5, 0], "received 0.5"),
            ([0, 1, float("inf"), 0], "received inf"),
            (np.eye(4), r"labels are float64\[4, 4\]; expected the number of one class for each picture"),
            ([2, 2, 2, 2], "all pictures are of the class '2'"),
        ],
    )
    def test_labels_that_are_no_classes(self, labels: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_labelled((np.zeros((4, 8, 8, 3), np.uint8), labels), size=8)

    def test_labels_beyond_the_classes(self) -> None:
        x = np.zeros((2, 8, 8, 3), np.uint8)
        with pytest.raises(DataError, match="labels go up to 2; expected numbers below 2, of a, b"):
            read_labelled((x, [0, 2]), size=8, classes=("a", "b"))
        assert read_labelled((x, [0, 2]), size=8, classes=("a", "b", "c")).counts == {"a": 1, "b": 0, "c": 1}

    def test_no_labels(self) -> None:
        with pytest.raises(DataError, match="the data has no labels; expected pictures x and their classes y"):
            read_labelled(np.zeros((2, 8, 8, 3), np.uint8), size=8)

    def test_pixels_that_are_none(self) -> None:
        x = np.stack([pixels(seed, 8, 8) for seed in range(3)]).astype(np.float32)
        x[1, 0, 0, 0] = np.nan
        data = read_labelled((x, [0, 0, 1]), size=8)
        assert data.names == ("example 0", "example 2")
        assert [each.name for each in data.skipped] == ["example 1"]
        with pytest.raises(
            DataError, match=r"pixels of example 0 are float32 from 0\.\d+ to 0\.\d+; expected whole numbers"
        ):
            read_labelled((x[[0, 2]] / 256, [0, 1]), size=8)


class TestTFRecord:
    @pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz"])
    def test_records(self, tmp_path: Path, name: str) -> None:
        records = pytest.importorskip("record_files")
        pictures = [pixels(seed) for seed in range(4)]
        rows = [
            {"image/encoded": encoded(each, "png"), "image/class/label": at % 2} for at, each in enumerate(pictures)
        ]
        broken: list[dict[str, Any]] = [
            {"image/encoded": b"", "image/class/label": 1},
            {"image/encoded": encoded(pixels(1), "png")},
            {"image/class/label": 0},
        ]
        file = records.write(tmp_path / name, *rows[:2], *broken, *rows[2:])
        data = read_labelled(file, size=16)
        assert data.labels.tolist() == [0, 1, 0, 1]
        assert data.names[2] == f"record 5 in {file}"
        assert reasons(data) == {
            f"record 2 in {file}": "it is empty",
            f"record 3 in {file}": "it has no label",
            f"record 4 in {file}": "it is empty",
        }
        arrays = read_labelled((np.stack(pictures), [0, 1, 0, 1]), size=16)
        np.testing.assert_array_equal(data.pixels, arrays.pixels)

    def test_names_of_classes(self, tmp_path: Path) -> None:
        records = pytest.importorskip("record_files")
        rows = [
            {"image/encoded": encoded(pixels(at), "png"), "label": name} for at, name in enumerate((b"dog", b"cat"))
        ]
        data = read_labelled(records.write(tmp_path / "a.tfrecord", *rows), size=16)
        assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1, 0])

    def test_records_without_what_is_needed(self, tmp_path: Path) -> None:
        records = pytest.importorskip("record_files")
        picture = encoded(pixels(0), "png")
        none = records.write(tmp_path / "none.tfrecord", {"image/encoded": picture})
        with pytest.raises(DataError, match="none of 1 pictures has a label"):
            read_labelled(none, size=16)
        several = records.write(tmp_path / "several.tfrecord", {"image/encoded": picture, "label": [1, 2]})
        with pytest.raises(
            DataError, match="the label of record 0 in .* has 2 values; expected the number of one class"
        ):
            read_labelled(several, size=16)
        boxes = records.write(tmp_path / "boxes.tfrecord", {"image/encoded": picture, "image/source_id": b"1"})
        with pytest.raises(DataError, match="have no class label; expected both picture and label"):
            read_labelled(boxes, size=16)


class TestWeights:
    def test_balanced(self) -> None:
        sklearn = pytest.importorskip("sklearn.utils.class_weight")
        labels = np.repeat([0, 1, 2], [2, 3, 7])
        data = read_labelled((np.zeros((12, 8, 8, 3), np.uint8), labels), size=8)
        expected = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=labels)
        np.testing.assert_allclose(list(data.class_weights().values()), expected)
        rows = np.arange(6)  # the third class has one of them
        expected = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=labels[rows])
        np.testing.assert_allclose(list(data.class_weights(rows).values()), expected)


class TestCache:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        class_folders(tmp_path / "pictures", {"a": 5, "b": 5})
        write(tmp_path / "pictures" / "a" / "001a.png", b"")
        write(tmp_path / "pictures" / "a" / "x.jpg", pixels(1), "png")
        return tmp_path / "pictures"

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        return tmp_path / "cache"

    def test_disk_is_as_memory(self, folder: Path, cache: Path) -> None:
        memory = read_labelled(folder, size=16, cache="memory")
        made, again = (read_labelled(folder, size=16, cache="disk", cache_folder=cache) for _ in range(2))
        assert isinstance(again.pixels, np.memmap)
        same(memory, made)
        same(memory, again)
        assert memory.skipped == (Skipped("a/001a.png", "it is empty", "a"),)
        assert not list(cache.glob("*unfinished*"))

    def test_it_is_used_again(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = read_labelled(folder, size=16, cache="disk", cache_folder=cache)
        with monkeypatch.context() as patch:
            patch.setattr(module, "decode", lambda *_: pytest.fail("it was decoded again"))
            for kind in ("disk", "auto"):
                same(first, read_labelled(folder, size=16, cache=kind, cache_folder=cache))  # type: ignore[arg-type]
        assert len(list(cache.glob("*.npy"))) == 1

    def test_two_at_once_decode_once(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        begun: list[int] = []
        decode = module.decode

        def slow(*given: Any) -> Any:
            begun.append(1)
            time.sleep(0.2)  # the other one arrives meanwhile
            return decode(*given)

        monkeypatch.setattr(module, "decode", slow)
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(
                lambda _: read_labelled(folder, size=16, cache="disk", cache_folder=cache, threads=1), range(2)
            )
        same(one, other)
        assert len(begun) == 1

    def test_other_pictures_are_other_files(self, folder: Path, cache: Path) -> None:
        def files() -> int:
            return len(list(cache.glob("*.npy")))

        read_labelled(folder, size=16, cache="disk", cache_folder=cache)
        read_labelled(folder, size=17, cache="disk", cache_folder=cache)
        read_labelled(folder, size=16, channels=1, cache="disk", cache_folder=cache)
        assert files() == 3
        os.utime(folder / "a" / "000.jpeg", ns=(1, 1))
        read_labelled(folder, size=16, cache="disk", cache_folder=cache)
        assert files() == 4
        (folder / "a" / "000.jpeg").unlink()
        assert len(read_labelled(folder, size=16, cache="disk", cache_folder=cache).names) == 10
        assert files() == 5

    def test_what_a_killed_process_left_is_not_used(
        self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = read_labelled(folder, size=16, cache="disk", cache_folder=cache)
        (pixel_file,), (about,) = cache.glob("*.npy"), cache.glob("*.json")
        whole = pixel_file.read_bytes()

        def read() -> Labelled:
            return read_labelled(folder, size=16, cache="disk", cache_folder=cache)

        about.unlink()  # killed between the two
        same(expected, read())
        pixel_file.write_bytes(whole[:-1])  # a copy of the folder that did not end
        same(expected, read())
        pixel_file.rename(cache / f".{pixel_file.name}-unfinished")  # killed while it was filled
        about.unlink()
        same(expected, read())
        assert pixel_file.read_bytes() == whole

    def test_an_interruption_leaves_nothing(self, folder: Path, cache: Path) -> None:
        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            read_labelled(folder, size=16, cache="disk", cache_folder=cache, progress=stop)
        assert {file.suffix for file in cache.iterdir()} <= {".lock"}

    def test_arrays_are_known_by_their_content(self, cache: Path) -> None:
        x, y = np.stack([pixels(seed) for seed in range(4)]), np.array([0, 1, 0, 1])
        made = read_labelled((x, y), size=16, cache="disk", cache_folder=cache)
        same(made, read_labelled((x.copy(), y), size=16, cache="disk", cache_folder=cache))
        assert len(list(cache.glob("*.npy"))) == 1
        read_labelled((x, 1 - y), size=16, cache="disk", cache_folder=cache)
        assert len(list(cache.glob("*.npy"))) == 2

    def test_auto(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        needed = 12 * 18 * 18 * 3
        monkeypatch.setattr(module, "memory", lambda: Memory(total=10 * needed, available=5 * needed))
        assert not isinstance(read_labelled(folder, size=16, cache_folder=cache).pixels, np.memmap)
        assert not cache.exists()
        monkeypatch.setattr(module, "memory", lambda: Memory(total=10 * needed, available=3 * needed))
        assert isinstance(read_labelled(folder, size=16, cache_folder=cache).pixels, np.memmap)
        monkeypatch.setattr(module, "memory", lambda: Memory(total=10 * needed, limit=3 * needed, available=9 * needed))
        with pytest.raises(DataError, match=r"pictures need 0\.0 GB, more than a quarter .* expected a folder"):
            read_labelled(folder, size=16)

    def test_places_that_cannot_be(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no folder for it is named"):
            read_labelled(folder, size=16, cache="disk")
        with pytest.raises(DataError, match="unknown cache 'ram'; expected auto, memory or disk"):
            read_labelled(folder, size=16, cache="ram")  # type: ignore[arg-type]
        write(tmp_path / "file", b"")
        with pytest.raises(OutputError, match="cannot be written to"):
            read_labelled(folder, size=16, cache="disk", cache_folder=tmp_path / "file")

    def test_a_full_disk(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            read_labelled(folder, size=16, cache="disk", cache_folder=cache)
        assert {file.suffix for file in cache.iterdir()} <= {".lock"}
