"""What `eightfold train` is compared with: a Keras script as the tutorials have it.

    python benchmarks/training_plain.py FOLDER NET --image-size N --epochs N --batch-size N --seed N
        [--plain | --two-lines]

By default a good one: `image_dataset_from_directory`, cache and prefetch. With `--plain` the pictures are decoded by
Pillow at every epoch, in one thread, as a `keras.utils.Sequence` does. Flips are all the augmentation there is. With
`--two-lines` it is the good one with two lines of eightfold: `ef.accelerate(model)`, and `ef.data.image_folder(...)`,
which has an augmentation of its own, in place of the pipeline. The validation pictures are those that `eightfold train`
keeps for the same seed. Writes one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time

START = time.perf_counter()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import training_nets  # noqa: E402
from PIL import Image  # noqa: E402

import eightfold as ef  # noqa: E402
from eightfold.data.folder import listed  # noqa: E402
from eightfold.data.split import stratified  # noqa: E402


def main() -> None:
    options = arguments()
    keras.utils.set_random_seed(options.seed)
    side, classes = options.image_size, len(listed(options.folder).classes)
    model = getattr(training_nets, options.net)((side, side, 3), classes)
    if options.two_lines:
        ef.accelerate(model)
        data = ef.data.image_folder(options.folder, side, batch_size=options.batch_size, seed=options.seed)
        train, held = data.train, data.validation
    else:
        train, held = _parts(options)
    model.compile(
        keras.optimizers.Adam(options.rate), keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
    )
    times = Times()
    # Whatever it is, it shuffles by itself.
    history = model.fit(train, validation_data=held, epochs=options.epochs, shuffle=False, verbose=0, callbacks=[times])
    seconds = time.perf_counter() - START
    print(
        json.dumps(
            {
                "accuracy": history.history["val_accuracy"][-1],
                "seconds": seconds,
                "first_step": times.first - START,
                "epoch_seconds": times.epochs,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            }
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("net", choices=training_nets.__all__)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--plain", action="store_true")
    kinds.add_argument("--two-lines", action="store_true")
    return parser.parse_args()


class Times(keras.callbacks.Callback):
    """When the first step was done, and how long each epoch took."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0.0
        self.epochs: list[float] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.first = self.first or time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(time.perf_counter() - self._began)


def _parts(options: argparse.Namespace) -> list[Any]:
    """The pictures that train, and those that validate."""
    found = listed(options.folder)
    labels = np.array(found.labels)
    files = [str(file) for file in found.files]
    made = _sequence if options.plain else _dataset
    return [
        made([files[row] for row in rows], labels[rows], options.image_size, options.batch_size, shuffled=not number)
        for number, rows in enumerate(stratified(labels, 0.2, options.seed))
    ]


def _dataset(files: list[str], labels: Any, side: int, batch_size: int, *, shuffled: bool) -> Any:
    """What `image_dataset_from_directory` builds for these files, with cache, flips and prefetch."""

    def decoded(file: Any, label: Any) -> Any:
        picture = tf.image.decode_image(tf.io.read_file(file), channels=3, expand_animations=False)
        return tf.image.resize(picture, (side, side)), label

    data = tf.data.Dataset.from_tensor_slices((files, labels)).map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.cache()
    if shuffled:
        data = data.shuffle(len(files))
    data = data.batch(batch_size)
    if shuffled:
        data = data.map(lambda x, y: (tf.image.random_flip_left_right(x), y), num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def _sequence(files: list[str], labels: Any, side: int, batch_size: int, *, shuffled: bool) -> Any:
    """Pillow, one picture after the other, at every epoch."""

    class Pictures(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._order = np.arange(len(files))
            self.on_epoch_end()

        def __len__(self) -> int:
            return (len(files) + batch_size - 1) // batch_size

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            rows = self._order[number * batch_size : (number + 1) * batch_size]
            return np.stack(list(self._pictures(rows))), labels[rows]

        def _pictures(self, rows: Any) -> Iterator[Any]:
            for row in rows:
                with Image.open(files[row]) as opened:
                    picture = np.asarray(opened.convert("RGB").resize((side, side)), np.float32)
                yield picture[:, ::-1] if shuffled and np.random.random() < 0.5 else picture

        def on_epoch_end(self) -> None:
            if shuffled:
                np.random.shuffle(self._order)

    return Pictures()


if __name__ == "__main__":
    main()
