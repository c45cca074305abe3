"""Batches that follow from seed, epoch and number alone; what augmentation does to pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from picture_files import pixels
from PIL import Image

from eightfold.data import Augment, Labelled, read_labelled
from eightfold.data.augment import Drawn
from eightfold.data.epochs import Epochs, every_epoch, one_epoch
from eightfold.errors import DataError
from eightfold.graph.ir import Array

tf: Any = pytest.importorskip("tensorflow")

NOTHING = Augment(flip_horizontal=False, crop=False, brightness=0, contrast=0)
ALL = Augment(flip_vertical=True, rotation=10, scale=0.1)
COUNT, SIZE, STORED = 22, 16, 18


@pytest.fixture(scope="module")
def data() -> Labelled:
    x = np.stack([pixels(seed, 30, 40) for seed in range(COUNT)])
    return read_labelled((x, np.arange(COUNT) % 3), size=SIZE)


@pytest.fixture(scope="module")
def exact() -> Labelled:
    """Without a margin."""
    x = np.stack([pixels(seed, SIZE, SIZE) for seed in range(COUNT)])
    return read_labelled((x, np.arange(COUNT) % 3), size=SIZE)


ROWS = np.arange(COUNT)


def read(dataset: Any) -> list[tuple[Array, Array]]:
    return list(dataset.as_numpy_iterator())


def equal(some: list[tuple[Array, Array]], others: list[tuple[Array, Array]]) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in zip(some, others, strict=True)
    )


class TestOrder:
    def test_all_rows_once(self, data: Labelled) -> None:
        dataset = data.batches(ROWS, 5)
        assert dataset.element_spec == (tf.TensorSpec((None, 16, 16, 3), tf.float32), tf.TensorSpec((None,), tf.int32))
        assert int(dataset.cardinality()) == 5
        batches = read(dataset)
        assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 2]
        found = np.concatenate([images for images, _ in batches])
        centre = data.pixels[:, 1:17, 1:17].astype(np.float32)
        order = [int(np.flatnonzero((centre == image).all((1, 2, 3)))[0]) for image in found]
        assert sorted(order) == list(range(COUNT))
        assert order != list(range(COUNT))
        assert np.concatenate([labels for _, labels in batches]).tolist() == [at % 3 for at in order]

    def test_in_order(self, data: Labelled) -> None:
        ((images, labels),) = read(data.batches(np.array([3, 1, 4]), 8, shuffle=False))
        np.testing.assert_array_equal(images, data.pixels[[3, 1, 4], 1:17, 1:17])
        assert labels.tolist() == [0, 1, 1]

    def test_full_batches_only(self, data: Labelled) -> None:
        dataset = data.batches(ROWS, 5, drop_remainder=True)
        assert dataset.element_spec[0].shape == (5, 16, 16, 3)
        assert [len(labels) for _, labels in read(dataset)] == [5, 5, 5, 5]
        assert data.batches(ROWS, 11).element_spec[1].shape == (11,)

    @pytest.mark.parametrize("augment", [None, Augment(), ALL])
    def test_the_same_in_every_run(self, data: Labelled, augment: Augment | None) -> None:
        def run(**options: int) -> list[tuple[Array, Array]]:
            return read(data.batches(ROWS, 5, augment=augment, **options))

        assert equal(run(seed=1), run(seed=1))
        assert not equal(run(seed=1), run(seed=2))
        assert not equal(run(seed=1), run(seed=1, epoch=1))

    @pytest.mark.parametrize("augment", [None, Augment(), ALL])
    def test_an_epoch_begun_in_its_middle(self, data: Labelled, augment: Augment | None) -> None:
        whole = read(data.batches(ROWS, 5, seed=3, epoch=2, augment=augment))
        for first in (1, 3, 5):
            rest = data.batches(ROWS, 5, seed=3, epoch=2, first=first, augment=augment)
            assert int(rest.cardinality()) == 5 - first
            assert equal(read(rest), whole[first:])

    def test_every_iteration_is_the_next_epoch(self, data: Labelled) -> None:
        dataset = every_epoch(data.epochs(ROWS, 5, seed=1, augment=Augment()))
        assert int(dataset.cardinality()) == 5
        for epoch in range(3):
            assert equal(read(dataset), read(data.batches(ROWS, 5, seed=1, epoch=epoch, augment=Augment())))

    def test_order_and_changes_are_drawn_apart(self, data: Labelled) -> None:
        epochs = data.epochs(ROWS, 5, seed=1, augment=Augment())
        first, second = (np.random.default_rng(seed).random() for seed in ((1, 0), (1, 0, 1)))
        assert first != second
        a, b = (epochs.drawn(0, batch, 5).gain for batch in (0, 1))
        assert not np.array_equal(a, b)

    @pytest.mark.parametrize(
        ("rows", "options", "message"),
        [
            ([], {}, "there are 0 pictures; expected at least one batch"),
            ([1, 2], {"drop_remainder": True}, "there are 2 pictures; .* in full batches of 4"),
            ([1], {"first": 2}, "cannot begin with batch 2; expected 0 to 1"),
            ([1], {"seed": -1}, "a seed of 0 or more; received 4 and -1"),
        ],
    )
    def test_what_makes_no_batches(
        self, data: Labelled, rows: list[int], options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            data.batches(np.array(rows, int), 4, **options)


class TestAugment:
    def batch(self, data: Labelled, augment: Augment, seed: int = 0) -> Array:
        ((images, _),) = read(data.batches(ROWS, COUNT, shuffle=False, augment=augment, seed=seed))
        assert images.dtype == np.float32
        assert images.shape == (COUNT, SIZE, SIZE, 3)
        return images  # type: ignore[no-any-return]

    def centre(self, data: Labelled) -> Array:
        at = (data.pixels.shape[1] - SIZE) // 2
        return data.pixels[:, at : at + SIZE, at : at + SIZE].astype(np.float32)

    def test_nothing(self, data: Labelled) -> None:
        np.testing.assert_array_equal(self.batch(data, NOTHING), self.centre(data))

    @pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
    def test_flips(self, data: Labelled, name: str, axis: int) -> None:
        options = {"flip_horizontal": False, "crop": False, "brightness": 0, "contrast": 0, name: True}
        images, plain = self.batch(data, Augment(**options)), self.centre(data)  # type: ignore[arg-type]
        kept = (images == plain).all((1, 2, 3))
        flipped = (images == np.flip(plain, axis)).all((1, 2, 3))
        assert (kept ^ flipped).all()
        assert 5 < kept.sum() < 17

    @pytest.mark.parametrize("which", ["data", "exact"])
    def test_crops(self, which: str, request: pytest.FixtureRequest) -> None:
        data = request.getfixturevalue(which)
        augment = Augment(flip_horizontal=False, brightness=0, contrast=0)
        reach = (0, 1, 2) if which == "data" else range(-2, 3)
        pad = 0 if which == "data" else 2
        whole = np.pad(data.pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
        found = set()
        for image, around in zip(self.batch(data, augment), whole, strict=True):
            places = {
                (top, left)
                for top in reach
                for left in reach
                if np.array_equal(image, around[pad + top : pad + top + SIZE, pad + left : pad + left + SIZE])
            }
            assert len(places) == 1
            found |= places
        assert len(found) > 6

    def test_brightness_and_contrast(self, data: Labelled) -> None:
        augment = Augment(flip_horizontal=False, crop=False, brightness=0.2, contrast=0.3)
        drawn = data.epochs(ROWS, COUNT, augment=augment).drawn(0, 0, COUNT)
        assert abs(drawn.shift).max() <= 0.2 * 255
        assert abs(drawn.gain - 1).max() <= 0.3
        assert drawn.gain.std() > 0.1
        plain = self.centre(data).astype(np.float64)
        mean = plain.mean((1, 2, 3), keepdims=True)
        gain, shift = (value[:, None, None, None] for value in (drawn.gain, drawn.shift))
        expected = np.clip((plain - mean) * gain + mean + shift, 0, 255)
        images = self.batch(data, augment)
        np.testing.assert_allclose(images, expected, atol=1e-3)
        assert images.min() >= 0
        assert images.max() <= 255

    def test_turning_by_nothing_is_the_same(self, data: Labelled) -> None:
        least = Augment(flip_vertical=True, brightness=0, contrast=0, scale=1e-9)
        plain = Augment(flip_vertical=True, brightness=0, contrast=0)
        np.testing.assert_allclose(self.batch(data, least), self.batch(data, plain), atol=1e-2)

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_a_quarter_turn_about_the_centre(self, data: Labelled, mirrored: bool) -> None:
        one = np.ones(1)
        drawn = Drawn(one[:, None] * [1, 1], one > 2 * (not mirrored), one > 2, one, one, 90 * one, one)
        made = module_turned(data.pixels[:1], drawn)
        centre = self.centre(data)[0]
        expected = np.rot90(centre[:, ::-1] if mirrored else centre, k=-1 if mirrored else 1)
        np.testing.assert_allclose(made[0], expected, atol=1e-2)

    def test_scale(self, data: Labelled) -> None:
        one = np.ones(1)
        drawn = Drawn(one[:, None] * [1, 1], one > 2, one > 2, one, one, 0 * one, 2 * one)
        made = module_turned(data.pixels[:1], drawn)
        around = self.centre(data)[0]
        np.testing.assert_allclose(made[0, 7:9, 7:9].mean((0, 1)), around[7:9, 7:9].mean((0, 1)), atol=1e-2)
        top = 0.75 * around[4, 4] + 0.25 * around[3, 4]  # 3.75 pixels from the top
        left = 0.75 * around[4, 3] + 0.25 * around[3, 3]
        np.testing.assert_allclose(made[0, 0, 0], 0.75 * top + 0.25 * left, atol=1e-2)

    def test_rotation_stays_in_its_limits(self, data: Labelled) -> None:
        drawn = data.epochs(ROWS, COUNT, augment=ALL).drawn(0, 0, COUNT)
        assert 5 < abs(drawn.degrees).max() <= 10
        assert 0.9 <= drawn.scale.min() < drawn.scale.max() <= 1.1
        images = self.batch(data, ALL)
        assert abs(images - self.centre(data)).mean() > 1

    @pytest.mark.parametrize(
        ("name", "value"), [("brightness", 1.5), ("contrast", -0.1), ("rotation", 181), ("scale", 1)]
    )
    def test_amounts_that_make_no_sense(self, name: str, value: float) -> None:
        with pytest.raises(DataError, match=f"{name} is .*; expected a number from 0 to"):
            Augment(**{name: value})  # type: ignore[arg-type]


def module_turned(squares: Array, drawn: Drawn) -> Array:
    from eightfold.data.augment import turned

    made: Array = turned(tf.cast(squares, tf.float32), drawn.transforms(SIZE), SIZE).numpy()
    return made


def test_smaller_pictures_are_those_that_pillow_makes(exact: Labelled) -> None:
    small = replace(exact.epochs(ROWS, 5, shuffle=False), resized=8)
    assert small.shape == (None, 8, 8, 3)
    found = np.concatenate([images for images, _ in read(one_epoch(small))])
    wanted = [Image.fromarray(one).resize((8, 8), Image.Resampling.BILINEAR) for one in exact.pixels]
    assert np.abs(found - np.stack([np.asarray(one) for one in wanted])).max() <= 1.0  # Pillow rounds twice


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_each_batch_and_what_is_changed_in_it(workers: int) -> None:
    rng = np.random.default_rng(0)
    plan = Epochs(
        pixels=rng.integers(0, 256, (23, 10, 10, 3)).astype(np.uint8),
        labels=np.arange(23),
        size=8,
        rows=np.arange(23),
        batch_size=8,
        seed=4,
        augment=Augment(),
    )
    parts = [list(one_epoch(plan.share(worker, workers), epoch=1)) for worker in range(workers)]
    for number, (images, labels) in enumerate(one_epoch(plan, epoch=1)):
        for worker in range(workers):
            np.testing.assert_array_equal(parts[worker][number][0], images[worker::workers])
            np.testing.assert_array_equal(parts[worker][number][1], labels[worker::workers])
            assert plan.share(worker, workers).rows_of(1, number).tolist() == labels[worker::workers].numpy().tolist()


def test_no_thread_tunes_the_pipeline_which_the_end_of_an_epoch_would_wait_for(exact: Labelled) -> None:
    epochs = exact.epochs(np.arange(len(exact.labels)), 2)
    for dataset in (one_epoch(epochs), every_epoch(epochs)):
        assert dataset.options().autotune.enabled is False
